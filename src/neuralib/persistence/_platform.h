/* Whether this is compiled for Windows: for code that needs no other header of the system. */
#ifndef NEURALIB_PERSISTENCE_PLATFORM_H
#define NEURALIB_PERSISTENCE_PLATFORM_H

#ifdef _WIN32
#define PLATFORM_IS_WINDOWS 1
#else
#define PLATFORM_IS_WINDOWS 0
#endif

#endif
