# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False, embedsignature.format=clinic
"""Reads and publishes small files in the fewest system calls, and tells whether a folder changed.

Each function is one step for Python: Ctrl-C takes effect before or after it, never in between. Other threads run
meanwhile. Calls that differ from system to system are in ``_port.h``. ``tests/reference.py`` has each of these
functions in plain Python, to read, and to compare with.
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
    Py_ssize_t PyByteArray_GET_SIZE(object memory)
    int PySys_Audit(const char* event, const char* form, ...) except -1

cdef extern from "string.h":
    void* memchr(const void* where, int byte, size_t size) noexcept nogil

cdef extern from "_port.h":
    int PLATFORM_IS_WINDOWS
    int np_rename_exclusively(const char* source, const char* target) nogil
    int np_sync_file_system(int fd) nogil
    int np_reserve(int fd, long long start, long long size) nogil
    ctypedef struct np_status:
        long long size
        int mode
        unsigned owner
    int np_open_small(const char* path, bint is_link_refused, long long limit, int* fd, np_status* status) nogil
    int np_read_and_close(int fd, char* target, long long size) nogil
    void np_close(int fd) noexcept nogil
    int np_take(int* kept) noexcept nogil
    int np_look(const int* kept) noexcept nogil
    ctypedef struct np_stamp:
        long long earliest
        long long latest
    void np_forget_stamp(np_stamp* stamp) nogil
    int np_is_unchanged(const np_stamp* before, const np_stamp* now) nogil
    int np_write_unnamed(const char* folder, const char* data, size_t size, int* fd) nogil
    int np_publish(
        const char* folder, const char* target, const char* data, size_t size, bint makes_folder, int* named,
        np_stamp* stamp, bint is_expected, int held
    ) nogil
    np_stamp np_copy_stamp(const np_stamp* stamp) noexcept nogil
    int np_replace(
        const char* hidden, const char* target, const char* data, size_t size, int mode, unsigned owner
    ) nogil
    void np_open_locks() noexcept nogil
    int NLP_CHANGED
    int np_folder_stamp(const char* path, np_stamp* stamp) nogil
    int np_folder_stamp_wide(const wchar_t* path, np_stamp* stamp) nogil
    int np_leads_to(const char* path, long long device, unsigned long long inode) nogil
    object nlp_raise_os_error "NLP_RAISE_OS_ERROR"(int error, object path)


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class OpenFile:
    """An open file, which is closed at the latest with the last reference to it.

    Opening it and storing its descriptor is one step: between two steps of Python, Ctrl-C could lose the descriptor. If
    several threads close it at once, it is closed once.

    :param path: of the file
    :param flags: as :func:`os.open` takes them
    :param folder: the descriptor of the folder that *path* begins in; None for the current one
    :raises OSError: it can't be opened
    """

    cdef int kept

    def __cinit__(self):
        self.kept = -1

    def __init__(self, str path not None, int flags, int mode=0o666, folder=None):
        if self.kept < 0:
            self.kept = os.open(path, flags, mode) if folder is None else os.open(path, flags, mode, dir_fd=folder)

    @property
    def fd(self):
        """The descriptor; -1 if the file is closed."""
        return np_look(&self.kept)

    def close(self):
        """Close the file, if it is open.

        :raises OSError: the system could not keep what was written
        """
        cdef int fd = np_take(&self.kept)
        if fd >= 0:
            os.close(fd)

    def __dealloc__(self):
        if self.kept >= 0:
            np_close(self.kept)


cdef const char* _path_bytes(str path, list keep) except NULL:
    """Return *path* in the encoding of the file system. Its memory is that of *path* or of what is in *keep*."""
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


# The size of a spare piece of memory: about a processor's cache. What is read into it begins at a multiple of 64 bytes:
# 16 bytes after the start of a page, where large blocks of malloc begin, some processors take four times as long.
cdef enum:
    SPARE_BYTES = 1 << 20
    SPARE_ALIGNMENT = 64


cdef inline int _open_small(
    str path, bint is_link_refused, long long limit, int* fd, np_status* status
) except? -2:
    """Open the file *path*, and return what ``np_open_small`` does; on Windows always -1."""
    cdef int error
    cdef const char* c_path
    cdef list keep = []
    if PLATFORM_IS_WINDOWS:
        return -1
    c_path = _path_bytes(path, keep)
    PySys_Audit("open", "OOi", <PyObject*> path, <PyObject*> None, 0)
    with nogil:
        error = np_open_small(c_path, is_link_refused, limit, fd, status)
    return error


def read_small(str path not None, long long limit, list spare=None):
    """Return the content of the file *path*. Return None to ask for the slow path.

    That is where the file is not a regular one, has *limit* bytes or more, is empty or can't be read, and on Windows.

    :param limit: in bytes
    :param spare: pieces of memory to use again. One is taken out, or made, for a file of *limit* bytes or more that
        fits into it; a view into it is returned, and the caller puts the view's ``obj`` back. Getting new memory from
        the system, and giving it back, takes longer than reading the file
    :raises OSError: it can't be opened
    """
    cdef int fd = -1, error
    cdef np_status status
    cdef long long size
    cdef long long most = limit if spare is None else max(limit, <long long> SPARE_BYTES + 1)
    cdef char* target
    cdef Py_ssize_t begin
    error = _open_small(path, False, most, &fd, &status)
    if error > 0:
        nlp_raise_os_error(error, path)
    if error < 0:
        return None
    size = status.size
    try:
        if size < limit:
            data = PyBytes_FromStringAndSize(NULL, size)
            target = PyBytes_AS_STRING(data)
        else:
            memory = _spare_memory(spare)
            target = PyByteArray_AS_STRING(memory)
            begin = -(<Py_ssize_t> target) & (SPARE_ALIGNMENT - 1)
            target += begin
            data = memoryview(memory)[begin:begin + size]
    except BaseException:
        np_close(fd)
        raise
    with nogil:
        error = np_read_and_close(fd, target, size)
    return data if error == 0 and size > 0 else None


def read_former(str path not None, long long limit):
    """Return the content, the mode and the owner of the file *path*. Return None to ask for the slow path.

    That is where it is not a regular file, or a link to one, has *limit* bytes or more, is empty or can't be read, and
    on Windows.
    """
    cdef int fd = -1, error
    cdef np_status status
    cdef char* target
    if _open_small(path, True, limit, &fd, &status) != 0:
        return None
    try:
        data = PyBytes_FromStringAndSize(NULL, status.size)
    except BaseException:
        np_close(fd)
        raise
    target = PyBytes_AS_STRING(data)
    with nogil:
        error = np_read_and_close(fd, target, status.size)
    return (data, status.mode, status.owner) if error == 0 and status.size > 0 else None


cdef object _spare_memory(list spare):
    """Take a piece of memory from *spare*, or make one."""
    try:
        memory = spare.pop()
        if type(memory) is bytearray and PyByteArray_GET_SIZE(memory) == SPARE_BYTES + SPARE_ALIGNMENT:
            return memory
    except IndexError:
        pass
    return PyByteArray_FromStringAndSize(NULL, SPARE_BYTES + SPARE_ALIGNMENT)


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
@cython.freelist(8)
cdef class Stamp:
    """The state of a folder, by which it is seen whether names came or went since, other than by this stamp.

    It consists of the folder's time of change and its size. Where the file system's clock advances in steps of
    milliseconds, and the size stays the same, two changes in one step look like one. A publication that expects a stamp
    brings it up to date, in one step with the look: so threads that publish by the same one don't disturb each other.
    """

    cdef np_stamp told

    def __cinit__(self):
        np_forget_stamp(&self.told)

    cdef np_stamp copy(self) noexcept:
        cdef np_stamp found
        with nogil:  # a thread that is publishing by it keeps it locked
            found = np_copy_stamp(&self.told)
        return found

    @property
    def known(self):
        """Whether the state of the folder is known at all."""
        cdef np_stamp told = self.copy()
        return told.earliest <= told.latest

    def is_unchanged(self, Stamp now not None):
        """Return whether the folder, whose stamp is *now* by now, is as it was for this stamp."""
        cdef np_stamp before = self.copy()
        cdef np_stamp after = now.copy()
        return bool(np_is_unchanged(&before, &after))


def _open_locks():
    np_open_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_locks)

UNKNOWN = Stamp()
# Returned by publish_unnamed where the folder is not as it was expected.
CHANGED = Stamp()


def write_unnamed(str folder not None, bytes data not None):
    """Make a file without a name in *folder*, write *data* into it, and return it open.

    :return: None where *folder* does not exist, or its file system has no files without names
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
        error = np_write_unnamed(c_folder, c_data, size, &made.kept)
    if error > 0:
        nlp_raise_os_error(error, folder)
    return None if error < 0 else made


def publish_unnamed(
    str folder not None, str target not None, bytes data not None, bint stamped, Stamp expected=None,
    OpenFile held=None, bint makes_folder=False
):
    """Make the file *target* in *folder* with the content *data*. It gets its name only when it is complete.

    :param target: the path of the file
    :param stamped: whether to return the new stamp of *folder*
    :param expected: with *stamped*: the stamp that *folder* must have before, or None for any. It becomes the new one
    :param held: *folder*, if the caller keeps it open: then it need not be found by its path
    :param makes_folder: without *stamped*: make *folder*, but none above it, if it does not exist
    :return: the new stamp; :data:`UNKNOWN` without *stamped*, or where there is none; :data:`CHANGED` where the
        folder's stamp is not *expected*; None where *folder* does not exist or can't be made, or its file system has no
        files without names, or can't give them one. In the last two cases nothing was changed
    :raises FileExistsError: the name is taken
    :raises OSError: the file can't be written (its path is *folder*), or not be named (its path is *target*)
    """
    cdef int error, named = 0
    cdef bint is_expected = expected is not None
    cdef Stamp stamp = UNKNOWN if not stamped else expected if is_expected else Stamp.__new__(Stamp)
    cdef np_stamp* c_stamp = &stamp.told if stamped else NULL
    cdef int c_held = -1 if held is None else np_look(&held.kept)
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
        error = np_publish(c_folder, c_target, c_data, size, makes_folder, &named, c_stamp, is_expected, c_held)
    if error > 0:
        nlp_raise_os_error(error, target if named else folder)
    if error == NLP_CHANGED:
        return CHANGED
    return None if error < 0 else stamp


def replace_file(
    str hidden not None, str target not None, bytes data not None, int mode=-1, unsigned owner=0
):
    """Make the file *hidden* with the content *data*, and rename it to *target*, in place of the file with that name.

    Only on Linux.

    :param mode: the permissions that it gets if *owner* is this user; -1 for those of a new file
    :return: False where it was written, and could not be renamed: it has the path *hidden* then
    :raises OSError: it can't be written: no file is left
    """
    cdef int error
    cdef list keep = []
    cdef const char* c_hidden = _path_bytes(hidden, keep)
    cdef const char* c_target = _path_bytes(target, keep)
    cdef const char* c_data = data
    cdef size_t size = len(data)
    PySys_Audit("open", "OOi", <PyObject*> hidden, <PyObject*> None, 1)
    PySys_Audit("os.rename", "OOii", <PyObject*> hidden, <PyObject*> target, -1, -1)
    with nogil:
        error = np_replace(c_hidden, c_target, c_data, size, mode, owner)
    if error > 0:
        nlp_raise_os_error(error, hidden)
    return error == 0


def rename_exclusively(str source not None, str target not None):
    """Rename *source* to *target* in one step that fails where *target* exists.

    :return: False where the system has no such step
    :raises FileExistsError: *target* exists
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
    """Write everything that the file system of *fd* has not written yet to the disk.

    :return: False where the system has no such call, or the file system is not known to obey it
    :raises OSError: it can't be written
    """
    cdef int error
    with nogil:
        error = np_sync_file_system(fd)
    if error > 0:
        nlp_raise_os_error(error, None)
    return error == 0


def reserve(int fd, long long start, long long size):
    """Tell the system that *size* bytes will be written to *fd* from *start* on: then writing takes less time.

    It is only a hint: where the system can't take it, nothing happens. That the disk is full is seen by writing.
    """
    with nogil:
        np_reserve(fd, start, size)


def folder_stamp(str folder not None):
    """Return the stamp of *folder*, or None where it does not exist or can't be looked at."""
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


def leads_to(str path not None, device, inode):
    """Return whether *path* leads to the file with the numbers *device* and *inode*, as :func:`os.stat` gave them."""
    cdef list keep = []
    cdef const char* c_path
    cdef long long c_device
    cdef unsigned long long c_inode
    cdef bint found
    if PLATFORM_IS_WINDOWS:
        try:
            now = os.stat(path)
        except OSError:
            return False
        return bool(now.st_ino == inode and now.st_dev == device)
    c_path = _path_bytes(path, keep)
    c_device, c_inode = device, inode
    with nogil:
        found = np_leads_to(c_path, c_device, c_inode)
    return found
