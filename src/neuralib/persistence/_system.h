/* The headers of the system that this is compiled for, and how its errors become Python's. */
#ifndef NEURALIB_PERSISTENCE_SYSTEM_H
#define NEURALIB_PERSISTENCE_SYSTEM_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* fallocate, O_TMPFILE; before any header */
#endif

#include "_platform.h"

/* NLP_RAISE_OS_ERROR needs the headers of Python where it is used, not here. */
#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#define NLP_RAISE_OS_ERROR(error, path) PyErr_SetExcFromWindowsErrWithFilenameObject(PyExc_OSError, error, path)
#else
#include <errno.h>
#define NLP_RAISE_OS_ERROR(error, path) (errno = (error), PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path))
#endif

#endif
