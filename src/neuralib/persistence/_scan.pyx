# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False, embedsignature.format=clinic
"""Finds the highest numbers among names: of one series in a folder, or of each series in a list. Counts on from them.

Of the names in a folder no Python objects are made. ``tests/reference.py`` has each of these functions in plain Python,
to read, and to compare with.
"""

from os import fsencode

cimport cython

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsWideCharString
from libc.stddef cimport wchar_t

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    int PyUnicode_KIND(object text) noexcept
    void* PyUnicode_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    unsigned int PyUnicode_READ(int kind, const void* text, Py_ssize_t at) noexcept nogil
    Py_ssize_t PyUnicode_Find(str text, str part, Py_ssize_t start, Py_ssize_t end, int direction) except -2
    str PyUnicode_Substring(str text, Py_ssize_t start, Py_ssize_t end)
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "string.h":
    size_t strlen(const char* text) noexcept nogil
    int memcmp(const void* a, const void* b, size_t size) noexcept nogil

cdef extern from "wchar.h":
    size_t wcslen(const wchar_t* text) noexcept nogil
    int wmemcmp(const wchar_t* a, const wchar_t* b, size_t size) noexcept nogil

cdef extern from "_listing.h":
    ctypedef struct np_folder:
        int error
    int np_folder_open(np_folder* folder, const char* path) nogil
    int np_folder_open_wide(np_folder* folder, const wchar_t* path) nogil
    const char* np_folder_next(np_folder* folder) nogil
    const wchar_t* np_folder_next_wide(np_folder* folder) nogil
    void np_folder_close(np_folder* folder) nogil
    int PLATFORM_IS_WINDOWS
    object nlp_raise_os_error "NLP_RAISE_OS_ERROR"(int error, object path)

# The most digits that always fit a long long; and how many tails a scan may have.
cdef enum:
    MAX_DIGITS = 18
    MOST_TAILS = 8

# What names are made of: bytes, or on Windows wide characters.
ctypedef fused letter:
    char
    wchar_t


cdef inline long long _number(const letter* text, size_t size) noexcept nogil:
    """Return the number of which *text* is the ``str``, or -1."""
    cdef long long number = 0
    cdef size_t i
    if size == 0 or size > MAX_DIGITS or (text[0] == 48 and size > 1):
        return -1
    for i in range(size):
        if text[i] < 48 or text[i] > 57:
            return -1
        number = number * 10 + (text[i] - 48)
    return number


cdef inline bint _same(const letter* a, const letter* b, size_t size) noexcept nogil:
    """Return whether *a* and *b* begin with the same *size* letters."""
    if letter is wchar_t:
        return wmemcmp(a, b, size) == 0
    else:
        return memcmp(a, b, size) == 0


cdef long long _scan(
    np_folder* folder, const letter* head, size_t head_size, const letter** tails, const size_t* tail_sizes,
    int n_tails, const letter* leftover, size_t leftover_size, long long* leftovers
) noexcept nogil:
    """Return the highest number between *head* and one of *tails*, or -1; count names longer than *leftover*."""
    cdef long long highest = -1, number
    cdef const letter* name
    cdef size_t size
    cdef int i
    while True:
        if letter is wchar_t:
            name = np_folder_next_wide(folder)
        else:
            name = np_folder_next(folder)
        if name is NULL:
            return highest
        if letter is wchar_t:
            size = wcslen(name)
        else:
            size = strlen(name)
        if size > leftover_size and _same(name, leftover, leftover_size):
            leftovers[0] += 1
        if size <= head_size or not _same(name, head, head_size):
            continue
        for i in range(n_tails):
            if size > head_size + tail_sizes[i] and _same(name + size - tail_sizes[i], tails[i], tail_sizes[i]):
                number = _number(name + head_size, size - head_size - tail_sizes[i])
                if number > highest:
                    highest = number


cdef long long _highest_bytes(
    str folder, bytes path, bytes head, list tails, bytes leftover, long long* leftovers
) except -2:
    cdef np_folder handle
    cdef long long highest = -1
    cdef const char* c_path = path
    cdef const char* c_head = head
    cdef const char* c_leftover = leftover
    cdef const char* c_tails[MOST_TAILS]
    cdef size_t tail_sizes[MOST_TAILS]
    cdef size_t head_size = len(head), leftover_size = len(leftover)
    cdef int opened, i, n_tails = <int> len(tails)
    for i in range(n_tails):
        c_tails[i] = <bytes> tails[i]
        tail_sizes[i] = len(<bytes> tails[i])
    with nogil:
        opened = np_folder_open(&handle, c_path)
        if opened == 0:
            highest = _scan(
                &handle, c_head, head_size, c_tails, tail_sizes, n_tails, c_leftover, leftover_size, leftovers
            )
            np_folder_close(&handle)
    if opened != 0 or handle.error != 0:
        nlp_raise_os_error(handle.error, folder)
    return highest


cdef long long _highest_wide(str folder, str head, tuple tails, str leftover, long long* leftovers) except -2:
    cdef np_folder handle
    cdef long long highest = -1
    cdef Py_ssize_t head_size = 0, tail_size = 0, leftover_size = 0
    cdef int opened = -1, i, n_tails = <int> len(tails)
    cdef const wchar_t* c_tails[MOST_TAILS]
    cdef size_t tail_sizes[MOST_TAILS]
    cdef wchar_t* c_leftover = NULL
    cdef wchar_t* c_path = NULL
    cdef wchar_t* c_head = NULL
    handle.error = 0
    for i in range(MOST_TAILS):
        c_tails[i] = NULL
    try:
        c_path = PyUnicode_AsWideCharString(folder, NULL)
        c_head = PyUnicode_AsWideCharString(head, &head_size)
        for i in range(n_tails):
            c_tails[i] = PyUnicode_AsWideCharString(tails[i], &tail_size)
            tail_sizes[i] = tail_size
        c_leftover = PyUnicode_AsWideCharString(leftover, &leftover_size)
        with nogil:
            opened = np_folder_open_wide(&handle, c_path)
            if opened == 0:
                highest = _scan(
                    &handle, c_head, head_size, c_tails, tail_sizes, n_tails, c_leftover, leftover_size, leftovers
                )
                np_folder_close(&handle)
    finally:
        PyMem_Free(c_path)
        PyMem_Free(c_head)
        for i in range(MOST_TAILS):
            PyMem_Free(<void*> c_tails[i])
        PyMem_Free(c_leftover)
    if opened != 0 or handle.error != 0:
        nlp_raise_os_error(handle.error, folder)
    return highest


def scan_folder(str folder not None, str head not None, tuple tails not None, str leftover not None):
    """Return the highest number *n* for which *folder* has an entry named ``head + str(n)`` and one of *tails*, or -1.

    It reads names only and opens no file. Texts that ``str(int)`` would not write (leading zeros, signs), and numbers
    of more than :data:`MAX_DIGITS` digits, do not count. The GIL is released.

    :param tails: at most eight
    :param leftover: how the names of unfinished files begin
    :return: the number, and how many entries have a name that begins with *leftover* and goes on
    :raises OSError: *folder* can't be listed
    """
    if "\0" in folder:
        raise ValueError(f"embedded null character in the folder {folder!r}")
    if len(tails) > MOST_TAILS:
        raise ValueError("too many tails")
    cdef long long highest, leftovers = 0
    if PLATFORM_IS_WINDOWS:
        highest = _highest_wide(folder, head, tails, leftover, &leftovers)
    else:
        highest = _highest_bytes(
            folder, fsencode(folder), fsencode(head), [fsencode(tail) for tail in tails], fsencode(leftover), &leftovers
        )
    return highest, leftovers


cdef inline Py_ssize_t _end_of_digits(int kind, const void* text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Return where the ASCII digits end that begin at *at*."""
    while at < size and 48 <= PyUnicode_READ(kind, text, at) <= 57:
        at += 1
    return at


def index_series(list names not None, str before not None, str after not None, most=None):
    """Return the highest number of each series of numbered names among *names*.

    A number is what ``str(int)`` writes, from 0 on, with at most :data:`MAX_DIGITS` digits. In a name it follows the
    text *before*. No further digit follows it, but the text *after*. A name counts for each place where that is so:
    with an empty *before*, ``"a12"`` has the number 12 after ``"a"``, and 2 after ``"a1"``. Digits are those of ASCII.

    :param names: file names
    :param before: the text before each number
    :param after: the text after each number; the empty text admits any
    :param most: how many series there may be at most; None for any number of them
    :return: for each series, given by the whole text of its names before and after the number, the highest number; None
        where there are more than *most* series
    """
    cdef dict highest = {}
    cdef Py_ssize_t size, place, start, end, i
    cdef Py_ssize_t first = PyUnicode_GET_LENGTH(before), last = PyUnicode_GET_LENGTH(after)
    cdef Py_ssize_t limit = PY_SSIZE_T_MAX if most is None else most
    cdef int kind
    cdef long long number
    cdef const void* text
    cdef PyObject* known
    cdef str name
    cdef tuple series
    for name in names:
        if name is None:
            raise TypeError("a name is a str, not None")
        kind, text, size = PyUnicode_KIND(name), PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)
        place = PyUnicode_Find(name, before, 0, size, 1)
        while place >= 0:
            start = place + first
            place = PyUnicode_Find(name, before, place + 1, size, 1)
            end = _end_of_digits(kind, text, start, size)
            if not 0 < end - start <= MAX_DIGITS or (end - start > 1 and PyUnicode_READ(kind, text, start) == 48):
                continue
            if last and (size - end < last or not name.startswith(after, end)):
                continue
            number = 0
            for i in range(start, end):
                number = number * 10 + (PyUnicode_READ(kind, text, i) - 48)
            series = (PyUnicode_Substring(name, 0, start), PyUnicode_Substring(name, end, size))
            known = PyDict_GetItemWithError(highest, series)
            if known is NULL:
                if len(highest) >= limit:
                    return None
                highest[series] = number
            elif number > <long long> <object> known:
                highest[series] = number
    return highest


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class Counter:
    """The numbers of one series, as the threads of a handler take and save them. Each number is taken once.

    :param look: the number of the look at the store that the numbers are from
    :param highest: the highest number that was saved, or -1
    """

    cdef readonly long long look
    cdef readonly long long taken  # the highest number that was taken or saved
    cdef readonly long long saved  # the highest number that was saved

    def __init__(self, long long look, long long highest):
        self.look = look
        self.taken = self.saved = highest

    def take(self, long long look):
        """Return the next number; -1 where the numbers are not from *look*."""
        with cython.critical_section(self):
            if self.look != look:
                return -1
            self.taken += 1
            return self.taken

    def give_back(self, long long number):
        """Let *number* be taken again. False where a higher one was taken since."""
        with cython.critical_section(self):
            if self.taken != number or self.saved >= number:
                return False
            self.taken -= 1
            return True

    def save(self, long long number, long long look):
        """Note that *number* was saved. False where the numbers are not from *look*: nothing is noted then."""
        with cython.critical_section(self):
            if self.look != look:
                return False
            self.saved = max(self.saved, number)
            self.taken = max(self.taken, number)
            return True
