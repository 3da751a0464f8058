# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Files in the fewest system calls: new ones that nobody sees before they are whole, and whether a folder changed.

Each function is one step for Python, so that Ctrl-C comes before or after it, and lets other threads run meanwhile.
Calls that differ from system to system are in ``_port.h``.
"""

import os
from os import fsencode

cimport cython

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsWideCharString
from libc.stddef cimport wchar_t

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    object PyBytes_FromStringAndSize(const char* text, Py_ssize_t size)
    char* PyBytes_AS_STRING(object text)
    object PyByteArray_FromStringAndSize(const char* text, Py_ssize_t size)
    char* PyByteArray_AS_STRING(object memory)
    int PySys_Audit(const char* event, const char* form, ...) except -1

cdef extern from "string.h":
    void* memchr(const void* where, int byte, size_t size) noexcept nogil

cdef extern from "_port.h":
    int PLATFORM_IS_WINDOWS
    int np_rename_exclusively(const char* source, const char* target) nogil
    int np_sync_file_system(int fd) nogil
    int np_reserve(int fd, long long start, long long size) nogil
    int np_open_small(const char* path, long long limit, int* fd, long long* size) nogil
    int np_read_and_close(int fd, char* target, long long size) nogil
    void np_close(int fd) noexcept nogil
    int np_take(int* kept) noexcept nogil
    ctypedef struct np_stamp:
        long long earliest
        long long latest
    void np_forget_stamp(np_stamp* stamp) nogil
    int np_is_unchanged(const np_stamp* before, const np_stamp* now) nogil
    int np_write_unnamed(const char* folder, const char* data, size_t size, int* fd) nogil
    int np_publish(
        const char* folder, const char* target, const char* data, size_t size, int* named, np_stamp* stamp,
        const np_stamp* expected, int held
    ) nogil
    int NLP_CHANGED
    int np_folder_stamp(const char* path, np_stamp* stamp) nogil
    int np_folder_stamp_wide(const wchar_t* path, np_stamp* stamp) nogil
    object nlp_raise_os_error "NLP_RAISE_OS_ERROR"(int error, object path)


@cython.final
cdef class OpenFile:
    """A file that is open, and is closed at the latest when nobody refers to it any more.

    Opening it and noting its descriptor is one step here: between two steps of Python, Ctrl-C could lose it. Of threads
    that close it at once, one does.

    :param path: of the file
    :param flags: as :func:`os.open` takes them
    :raises OSError: it can't be opened
    """

    cdef readonly int fd

    def __cinit__(self):
        self.fd = -1

    def __init__(self, str path not None, int flags, int mode=0o666):
        if self.fd < 0:
            self.fd = os.open(path, flags, mode)

    def close(self):
        """Close the file, if it is open.

        :raises OSError: what was written can't be kept
        """
        cdef int fd = np_take(&self.fd)
        if fd >= 0:
            os.close(fd)

    def __dealloc__(self):
        if self.fd >= 0:
            np_close(self.fd)


cdef const char* _path_bytes(str path, list keep) except NULL:
    """Return *path* as the system takes it; *keep* holds the memory."""
    cdef bytes encoded
    cdef const char* found
    cdef Py_ssize_t size
    if PyUnicode_IS_COMPACT_ASCII(path):  # stored as it goes to the system, with a NUL after it
        found = <const char*> PyUnicode_DATA(path)
        size = PyUnicode_GET_LENGTH(path)
    else:
        encoded = fsencode(path)
        keep.append(encoded)
        found = encoded
        size = len(encoded)
    if memchr(found, 0, size) is not NULL:
        raise ValueError(f"embedded null character in the path {path!r}")
    return found


# Of a spare piece of memory: as much as a processor has close by.
cdef enum:
    SPARE_BYTES = 1 << 20


def read_small(str path not None, long long limit, list spare=None):
    """Return the content of the file *path*, or None where more than a quick look is needed.

    That is where it is no regular file, has *limit* bytes or more, is empty, can't be read, or on Windows.

    :param spare: pieces of memory, of which one is taken, or made, for a file of *limit* bytes or more that fits into
        it. A view into it is returned, and the caller puts its ``obj`` back. To get new memory from the system, and to
        give it back, would take longer than to read the file
    :raises OSError: it can't be opened
    """
    cdef int fd = -1, error
    cdef long long size = 0
    cdef long long most = limit if spare is None else max(limit, <long long> SPARE_BYTES + 1)
    cdef char* target
    cdef const char* c_path
    cdef list keep = []
    if PLATFORM_IS_WINDOWS:
        return None
    c_path = _path_bytes(path, keep)
    PySys_Audit("open", "OOi", <PyObject*> path, <PyObject*> None, 0)
    with nogil:
        error = np_open_small(c_path, most, &fd, &size)
    if error > 0:
        nlp_raise_os_error(error, path)
    if error < 0:
        return None
    try:
        if size < limit:
            data = PyBytes_FromStringAndSize(NULL, size)
            target = PyBytes_AS_STRING(data)
        else:
            memory = _spare_memory(spare)
            data = memoryview(memory)[:size]
            target = PyByteArray_AS_STRING(memory)
    except BaseException:
        np_close(fd)
        raise
    with nogil:
        error = np_read_and_close(fd, target, size)
    return data if error == 0 and size > 0 else None


cdef object _spare_memory(list spare):
    """Take a piece of memory from *spare*, or make one."""
    try:
        return spare.pop()
    except IndexError:
        return PyByteArray_FromStringAndSize(NULL, SPARE_BYTES)


@cython.final
@cython.freelist(8)
cdef class Stamp:
    """What is known of a folder that tells whether names came or went since. Never changed, so it needs no lock.

    It is made of the folder's time of change and size. Where the file system's clock advances in steps of milliseconds
    and the size does not tell, two changes in one step look like one.
    """

    cdef np_stamp told

    def __cinit__(self):
        np_forget_stamp(&self.told)

    @property
    def known(self):
        """Whether it says anything at all."""
        return self.told.earliest <= self.told.latest

    def is_unchanged(self, Stamp now not None):
        """Whether the look *now* shows the folder as it was for this stamp."""
        return bool(np_is_unchanged(&self.told, &now.told))


UNKNOWN = Stamp()
# What publish_unnamed returns where the folder is not as it was expected.
CHANGED = Stamp()


def write_unnamed(str folder not None, bytes data not None):
    """Return a new file in *folder*, open, that has no name and the content *data*.

    One step for Python, and without the GIL.

    :return: None where *folder* is not there, or there are no files without names
    :raises OSError: it can't be written
    """
    cdef int error
    cdef OpenFile made = OpenFile.__new__(OpenFile)
    cdef list keep = []
    cdef const char* c_folder
    cdef const char* c_data = data
    cdef size_t size = len(data)
    if PLATFORM_IS_WINDOWS:
        return None
    c_folder = _path_bytes(folder, keep)
    PySys_Audit("open", "OOi", <PyObject*> folder, <PyObject*> None, 2)
    with nogil:
        error = np_write_unnamed(c_folder, c_data, size, &made.fd)
    if error > 0:
        nlp_raise_os_error(error, folder)
    return None if error < 0 else made


def publish_unnamed(
    str folder not None, str target not None, bytes data not None, bint stamped, Stamp expected=None, OpenFile held=None
):
    """Make the new file *target* in *folder* with the content *data*, without a name until it is complete.

    One step for Python, so that no signal comes in between, and without the GIL.

    :param stamped: return the new stamp of *folder*
    :param expected: with *stamped*: what must hold of *folder* before, or None for anything
    :param held: *folder*, where the caller keeps it open, which spares finding it by its path
    :return: the new stamp; :data:`UNKNOWN` without *stamped*, or where it can't be had; :data:`CHANGED` where *folder*
        is not as *expected*; None where *folder* is not there, or there are no files without names, or none that can
        get one. Nothing was changed in the last two cases
    :raises FileExistsError: the name is taken
    :raises OSError: it can't be written or named; the path in it is *folder*, or *target* where it is about the name
    """
    cdef int error, named = 0
    cdef Stamp stamp = Stamp.__new__(Stamp) if stamped else UNKNOWN
    cdef np_stamp* c_stamp = &stamp.told if stamped else NULL
    cdef np_stamp* c_expected = NULL if expected is None else &expected.told
    cdef int c_held = -1 if held is None else held.fd
    cdef list keep = []
    cdef const char* c_folder
    cdef const char* c_target
    cdef const char* c_data = data
    cdef size_t size = len(data)
    if PLATFORM_IS_WINDOWS:
        return None
    c_folder = _path_bytes(folder, keep)
    c_target = _path_bytes(target, keep)
    PySys_Audit("open", "OOi", <PyObject*> target, <PyObject*> None, 2)
    with nogil:
        error = np_publish(c_folder, c_target, c_data, size, &named, c_stamp, c_expected, c_held)
    if error > 0:
        nlp_raise_os_error(error, target if named else folder)
    if error == NLP_CHANGED:
        return CHANGED
    return None if error < 0 else stamp


def rename_exclusively(str source not None, str target not None):
    """Rename *source* to *target* in one step that fails where there is a *target*; False where the system has none.

    :raises FileExistsError: there is a *target*
    :raises OSError: it can't be renamed
    """
    cdef list keep = []
    cdef const char* a = _path_bytes(source, keep)
    cdef const char* b = _path_bytes(target, keep)
    cdef int error
    with nogil:
        error = np_rename_exclusively(a, b)
    if error > 0:
        nlp_raise_os_error(error, target)
    return error == 0


def sync_file_system(int fd):
    """Write all of the file system that *fd* is on through to the disk; False where the system has no such call.

    :raises OSError: it can't be written
    """
    cdef int error
    with nogil:
        error = np_sync_file_system(fd)
    if error > 0:
        nlp_raise_os_error(error, None)
    return error == 0


def reserve(int fd, long long start, long long size):
    """Tell the system that *size* bytes will be written to *fd* from *start* on, which then takes less time.

    Only a hint: where the system can't do it, nothing happens; a disk that is full is told by writing.
    """
    with nogil:
        np_reserve(fd, start, size)


def folder_stamp(str folder not None):
    """Return the stamp of *folder*, or None where there is no such folder, or it can't be looked at."""
    cdef Stamp stamp = Stamp.__new__(Stamp)
    cdef int error
    cdef const char* c_path
    cdef wchar_t* wide
    cdef list keep = []
    if PLATFORM_IS_WINDOWS:
        wide = PyUnicode_AsWideCharString(folder, NULL)
        try:
            with nogil:
                error = np_folder_stamp_wide(wide, &stamp.told)
        finally:
            PyMem_Free(wide)
    else:
        c_path = _path_bytes(folder, keep)
        with nogil:
            error = np_folder_stamp(c_path, &stamp.told)
    return None if error else stamp
