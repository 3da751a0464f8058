# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Reads the names of a whole folder at once: which belong to a class, the texts of their keys, and their order.

Equal texts are kept once; a name is kept as a few small numbers, each the place of one text. So a question about a key
is answered once for each of its values, not once for each file. ``tests/reference.py`` has each of these functions in
plain Python, to read, and to compare with.
"""

cimport cython

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from libc.string cimport memchr, memcmp, memset

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    int PyUnicode_KIND(object text) noexcept
    void* PyUnicode_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    int PyUnicode_1BYTE_KIND
    unsigned int PyUnicode_READ(int kind, const void* text, Py_ssize_t at) noexcept nogil
    str PyUnicode_Substring(str text, Py_ssize_t start, Py_ssize_t end)
    Py_ssize_t PY_SSIZE_T_MAX

# The most digits that always fit a long long; and how many times as large as their count numbers may be that are
# sorted by a table of places.
cdef enum:
    MAX_DIGITS = 18
    MOST_GAPS = 8


cdef Py_ssize_t _find(
    const char* text, Py_ssize_t at, Py_ssize_t end, const char* literal, Py_ssize_t size
) noexcept nogil:
    """Where *literal* begins first in ``text[at:end]``, or -1."""
    cdef const char* found
    if size == 0:
        return at if at <= end else -1
    while at + size <= end:
        found = <const char*> memchr(text + at, literal[0], end - size + 1 - at)
        if found is NULL:
            return -1
        at = found - text
        if memcmp(found, literal, size) == 0:
            return at
        at += 1
    return -1


cdef Py_ssize_t _find_last(
    const char* text, Py_ssize_t at, Py_ssize_t end, const char* literal, Py_ssize_t size
) noexcept nogil:
    """Where *literal* begins last in ``text[at:end]``, or -1."""
    cdef Py_ssize_t i = end - size
    while i >= at:
        if size == 0 or (text[i] == literal[0] and memcmp(text + i, literal, size) == 0):
            return i
        i -= 1
    return -1


@cython.final
cdef class _Pattern:
    """The literals of a name, and the column of each text between them."""

    cdef tuple literals
    cdef int n
    cdef bint narrow
    cdef const char** data
    cdef Py_ssize_t* sizes
    cdef int* columns

    def __cinit__(self, tuple literals not None, tuple columns not None, int n_columns):
        cdef int i
        if not literals or len(columns) != len(literals) - 1:
            raise ValueError("a pattern has one column for each text between its literals")
        self.literals = literals
        self.n = len(literals)
        self.narrow = True
        self.data = <const char**> PyMem_Malloc(self.n * sizeof(char*))
        self.sizes = <Py_ssize_t*> PyMem_Malloc(self.n * sizeof(Py_ssize_t))
        self.columns = <int*> PyMem_Malloc(self.n * sizeof(int))
        if self.data is NULL or self.sizes is NULL or self.columns is NULL:
            raise MemoryError
        for i in range(self.n):
            literal = <str?> literals[i]
            self.narrow = self.narrow and PyUnicode_KIND(literal) == PyUnicode_1BYTE_KIND
            self.data[i] = <const char*> PyUnicode_DATA(literal)
            self.sizes[i] = PyUnicode_GET_LENGTH(literal)
        for i in range(self.n - 1):
            self.columns[i] = columns[i]
            if not 0 <= self.columns[i] < n_columns:
                raise ValueError(f"there is no column {columns[i]}")

    def __dealloc__(self):
        PyMem_Free(self.data)
        PyMem_Free(self.sizes)
        PyMem_Free(self.columns)

    cdef int ways(self, str name, Py_ssize_t* starts, Py_ssize_t* stops) except -1:
        """Return in how many ways *name* matches: 0, 1, or 2 for more than one.

        The first way, in which each text is as short as it can be, is written to *starts* and *stops*.
        """
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(name), at = self.sizes[0], end = size - self.sizes[self.n - 1]
        cdef Py_ssize_t found, bound
        cdef const char* text = NULL
        cdef bint narrow = self.narrow and PyUnicode_KIND(name) == PyUnicode_1BYTE_KIND
        cdef int i, last = self.n - 1
        if end < at:
            return 1 if last == 0 and name == <str> self.literals[0] else 0
        if narrow:
            text = <const char*> PyUnicode_DATA(name)
            if memcmp(text, self.data[0], at) or memcmp(text + end, self.data[last], size - end):
                return 0
        elif not (name.startswith(<str> self.literals[0]) and name.endswith(<str> self.literals[last])):
            return 0
        if last == 0:
            return 1 if size == at else 0
        for i in range(1, last):
            starts[i - 1] = at
            if narrow:
                found = _find(text, at, end, self.data[i], self.sizes[i])
            else:
                found = name.find(<str> self.literals[i], at, end)
            if found < 0:
                return 0
            stops[i - 1] = found
            at = found + self.sizes[i]
        starts[last - 1] = at
        stops[last - 1] = bound = end
        # Another way to read it puts at least one literal further to the right.
        for i in range(last - 1, 0, -1):
            if narrow:
                found = _find_last(text, stops[i - 1], bound, self.data[i], self.sizes[i])
            else:
                found = name.rfind(<str> self.literals[i], stops[i - 1], bound)
            if found != stops[i - 1]:
                return 2
            bound = found
        return 1


@cython.final
cdef class NameTable:
    """Names, and the texts of their keys. Filled once by :func:`read_names`, never changed, so it needs no lock."""

    cdef readonly list names
    cdef readonly tuple texts
    cdef readonly bint any_doubtful
    cdef readonly int last_pattern
    cdef int width
    cdef int* codes
    cdef char* doubts

    def __cinit__(self, Py_ssize_t room, int width):
        self.names = []
        self.last_pattern = -1
        self.texts = tuple([[] for _ in range(width)])
        self.width = width
        self.codes = <int*> PyMem_Malloc(max(room * width, 1) * sizeof(int))
        self.doubts = <char*> PyMem_Malloc(max(room, 1))
        if self.codes is NULL or self.doubts is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.codes)
        PyMem_Free(self.doubts)

    cdef int _shrink(self, Py_ssize_t rows) except -1:
        """Free the memory that was meant for names that did not match."""
        cdef int* codes = <int*> PyMem_Realloc(self.codes, max(rows * self.width, 1) * sizeof(int))
        if codes is not NULL:
            self.codes = codes
        return 0

    cdef Py_ssize_t _row(self, Py_ssize_t row) except -1:
        if not 0 <= row < len(self.names):
            raise IndexError("there is no such row")
        return row

    cdef int _column(self, Py_ssize_t column) except -1:
        if not 0 <= column < self.width:
            raise IndexError("there is no such column")
        return <int> column

    def doubtful(self, Py_ssize_t row):
        """Return whether the name can be read in more than one way; its texts are then those of the first."""
        return self.doubts[self._row(row)] != 0

    def codes_of(self, Py_ssize_t row):
        """Return, for each column, the place of the name's text in ``texts``; -1 where the name lacks it."""
        cdef int* codes = self.codes + self._row(row) * self.width
        return tuple([codes[i] for i in range(self.width)])

    def agrees(self, Py_ssize_t row, tuple names not None, dict values not None):
        """Return whether the texts of the row are surely those of *values*.

        Only texts, numbers, truth values and None are compared. For other values, and for doubtful rows, it is False.

        :param names: for each column the name of its value in *values*
        """
        cdef int* codes = self.codes + self._row(row) * self.width
        cdef int i
        cdef PyObject* value
        cdef str text
        if self.doubts[row] or len(names) != self.width:
            return False
        for i in range(self.width):
            value = PyDict_GetItemWithError(values, names[i])
            if value is NULL or codes[i] < 0:
                return False
            text = _text_of_plain(<object> value)
            if text is None or text != <str> (<list> self.texts[i])[codes[i]]:
                return False
        return True

    def column(self, Py_ssize_t column, list rows not None):
        """Return the codes of one column for *rows*."""
        cdef int i = self._column(column)
        cdef Py_ssize_t row
        cdef list found = []
        for row in rows:
            found.append(self.codes[self._row(row) * self.width + i])
        return found

    def select(self, tuple admitted not None, tuple ranks not None):
        """Return the rows that are admitted, in order.

        :param admitted: for each column a byte for names that lack the text, then one for each of its texts: 0 where it
            is not admitted. None admits all. Doubtful names are always selected
        :param ranks: for each column a list with the rank of each of its texts, from 0 on; the first column counts
            most. None: the column does not count. Names that lack a text come before those that have it
        """
        cdef Py_ssize_t n = len(self.names), row, used = 0
        cdef int i
        cdef const char** wanted = NULL
        cdef Py_ssize_t* rows = NULL
        cdef Py_ssize_t* other = NULL
        cdef int* codes
        cdef bint good
        if len(admitted) != self.width or len(ranks) != self.width:
            raise ValueError("admitted and ranks have one entry for each column")
        try:
            wanted = <const char**> PyMem_Malloc(max(self.width, 1) * sizeof(char*))
            rows = <Py_ssize_t*> PyMem_Malloc(max(n, 1) * sizeof(Py_ssize_t))
            other = <Py_ssize_t*> PyMem_Malloc(max(n, 1) * sizeof(Py_ssize_t))
            if wanted is NULL or rows is NULL or other is NULL:
                raise MemoryError
            for i in range(self.width):
                wanted[i] = NULL
                if admitted[i] is not None:
                    if len(<bytes?> admitted[i]) <= len(<list> self.texts[i]):
                        raise ValueError("a byte for each text of the column is needed, and one before them")
                    wanted[i] = <bytes> admitted[i]
            for row in range(n):
                codes = self.codes + row * self.width
                good = True
                if not self.doubts[row]:
                    for i in range(self.width):
                        if wanted[i] is not NULL and wanted[i][codes[i] + 1] == 0:
                            good = False
                            break
                if good:
                    rows[used] = row
                    used += 1
            for i in range(self.width - 1, -1, -1):
                if ranks[i] is not None:
                    self._sort(i, <list?> ranks[i], rows, other, used)
                    rows, other = other, rows
            return [rows[row] for row in range(used)]
        finally:
            PyMem_Free(wanted)
            PyMem_Free(rows)
            PyMem_Free(other)

    cdef int _sort(self, int column, list ranks, Py_ssize_t* rows, Py_ssize_t* target, Py_ssize_t n) except -1:
        """Counting sort by one column, which keeps the order of what is equal."""
        cdef Py_ssize_t kinds = len(ranks), i, place, at
        cdef int code
        cdef Py_ssize_t* starts = <Py_ssize_t*> PyMem_Malloc((kinds + 2) * sizeof(Py_ssize_t))
        cdef int* rank_of = <int*> PyMem_Malloc((kinds + 1) * sizeof(int))
        try:
            if starts is NULL or rank_of is NULL:
                raise MemoryError
            if kinds < len(<list> self.texts[column]):
                raise ValueError("a rank for each text of the column is needed")
            rank_of[0] = 0  # of names that lack it: they come first
            for i in range(kinds):
                rank_of[i + 1] = <int> ranks[i] + 1
                if not 0 < rank_of[i + 1] <= kinds:
                    raise ValueError("ranks go from 0 to the number of texts")
            memset(starts, 0, (kinds + 2) * sizeof(Py_ssize_t))
            for i in range(n):
                code = self.codes[rows[i] * self.width + column]
                starts[rank_of[code + 1] + 1] += 1
            for i in range(1, kinds + 2):
                starts[i] += starts[i - 1]
            for i in range(n):
                code = self.codes[rows[i] * self.width + column]
                place = rank_of[code + 1]
                at = starts[place]
                target[at] = rows[i]
                starts[place] = at + 1
        finally:
            PyMem_Free(starts)
            PyMem_Free(rank_of)
        return 0


def read_names(list names not None, patterns not None, tuple wanted not None):
    """Return the table of those of *names* that match a pattern.

    A name that matches in more than one way, or more than one pattern, is doubtful.

    :param patterns: each a tuple of the literals of a name, and a tuple of the columns of the texts between them
    :param wanted: for each column the texts that are wanted, among them None where names without one are; None for all.
        Names with another text are left out, but not doubtful ones
    :return: the table; its ``last_pattern`` is the place of the last of *patterns* that a name matched first, or -1
    """
    cdef int width = len(wanted), i
    cdef NameTable table = NameTable(len(names), width)
    cdef list read = [_Pattern(literals, columns, width) for literals, columns in patterns]
    cdef list codes_by_text = [{} for _ in range(width)]
    cdef _Pattern pattern, first
    cdef str name
    cdef int ways, found, number, matched = -1
    cdef Py_ssize_t used = 0, longest = max([len(literals) for literals, _ in patterns], default=1)
    cdef Py_ssize_t* places = <Py_ssize_t*> PyMem_Malloc(4 * longest * sizeof(Py_ssize_t))
    cdef int* latest = <int*> PyMem_Malloc(max(width, 1) * sizeof(int))
    try:
        if places is NULL or latest is NULL:
            raise MemoryError
        for i in range(width):
            latest[i] = -1
        for name in names:
            ways = 0
            first = None
            number = -1
            for pattern in read:
                number += 1
                if first is None:
                    found = pattern.ways(name, places, places + longest)
                    if found:
                        first = pattern
                        matched = number
                else:
                    found = pattern.ways(name, places + 2 * longest, places + 3 * longest)
                ways += found
            if first is None:
                continue
            if ways == 1 and not _is_wanted(name, first, places, places + longest, wanted):
                continue
            _note(table, used, name, first, places, places + longest, codes_by_text, latest)
            table.names.append(name)
            table.doubts[used] = ways > 1
            table.any_doubtful = table.any_doubtful or ways > 1
            table.last_pattern = max(table.last_pattern, matched)
            used += 1
    finally:
        PyMem_Free(places)
        PyMem_Free(latest)
    table._shrink(used)
    return table


cdef bint _is_wanted(
    str name, _Pattern pattern, const Py_ssize_t* starts, const Py_ssize_t* stops, tuple wanted
) except -1:
    cdef int i, column
    for column in range(len(wanted)):
        if wanted[column] is None:
            continue
        text = None
        for i in range(pattern.n - 1):
            if pattern.columns[i] == column:
                text = name[starts[i]:stops[i]]
        if text not in <frozenset?> wanted[column]:
            return False
    return True


cdef int _note(
    NameTable table, Py_ssize_t row, str name, _Pattern pattern, const Py_ssize_t* starts, const Py_ssize_t* stops,
    list codes_by_text, int* latest
) except -1:
    """Put the codes of the texts of *name* into its row."""
    cdef int* codes = table.codes + row * table.width
    cdef int i, column, code
    cdef str text
    cdef list texts
    cdef PyObject* known
    for i in range(table.width):
        codes[i] = -1
    for i in range(pattern.n - 1):
        column = pattern.columns[i]
        texts = <list> table.texts[column]
        if latest[column] >= 0 and _is_text(name, starts[i], stops[i], <str> texts[latest[column]]):
            codes[column] = latest[column]  # names of one series often follow each other
            continue
        text = name[starts[i]:stops[i]]
        known = PyDict_GetItemWithError(<dict> codes_by_text[column], text)
        if known is NULL:
            code = <int> len(texts)
            texts.append(text)
            (<dict> codes_by_text[column])[text] = code
        else:
            code = <int> <object> known
        codes[column] = latest[column] = code
    return 0


cdef bint _is_text(str name, Py_ssize_t start, Py_ssize_t stop, str text) noexcept:
    """Return whether ``name[start:stop]`` is surely *text*."""
    return (
        PyUnicode_GET_LENGTH(text) == stop - start
        and PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND
        and PyUnicode_KIND(name) == PyUnicode_1BYTE_KIND
        and memcmp(<const char*> PyUnicode_DATA(name) + start, PyUnicode_DATA(text), stop - start) == 0
    )


cdef str _text_of_plain(object value):
    """Return the text of *value* if its type is a plain one of Python and the text is short, else None."""
    cdef int overflow = 0
    cdef type kind = type(value)
    if kind is str:
        return value
    if kind is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        return None if overflow else str(value)
    return str(value) if kind is float or kind is bool or value is None else None


def rank_numbers(list texts not None):
    """Return the rank of each of *texts* by its number; None where one is not what ``str(int)`` writes from 0 on.

    A text of more than :data:`MAX_DIGITS` digits is not a number here.
    """
    cdef Py_ssize_t n = len(texts), i, k, size
    cdef const unsigned char* digits
    cdef long long number, largest = 0
    cdef Py_ssize_t* places
    cdef list numbers = []
    cdef str text
    for text in texts:
        size = PyUnicode_GET_LENGTH(text)
        if PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND or not 0 < size <= MAX_DIGITS:
            return None
        digits = <const unsigned char*> PyUnicode_DATA(text)
        if digits[0] == 48 and size > 1:
            return None
        number = 0
        for k in range(size):
            if not 48 <= digits[k] <= 57:
                return None
            number = number * 10 + (digits[k] - 48)
        numbers.append(number)
        largest = max(largest, number)
    ranks = [0] * n
    if largest < MOST_GAPS * n:  # as numbers from a counter are: each has a place of its own
        places = <Py_ssize_t*> PyMem_Malloc((largest + 1) * sizeof(Py_ssize_t))
        if places is NULL:
            raise MemoryError
        try:
            for k in range(largest + 1):
                places[k] = -1
            for i in range(n):
                places[<Py_ssize_t> numbers[i]] = i
            i = 0
            for k in range(largest + 1):
                if places[k] >= 0:
                    ranks[places[k]] = i
                    i += 1
        finally:
            PyMem_Free(places)
        if i == n:  # else some are equal
            return ranks
    order = sorted(range(n), key=numbers.__getitem__)
    for i in range(n):
        ranks[order[i]] = i
    return ranks


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
    cdef bint narrow  # whether name and before are stored as bytes
    for name in names:
        if name is None:
            raise TypeError("a name is a str, not None")
        kind, text, size = PyUnicode_KIND(name), PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)
        narrow = kind == PyUnicode_1BYTE_KIND and PyUnicode_KIND(before) == PyUnicode_1BYTE_KIND
        place = 0
        while True:
            if narrow:
                place = _find(<const char*> text, place, size, <const char*> PyUnicode_DATA(before), first)
            else:
                place = name.find(before, place)
            if place < 0:
                break
            start = place + first
            place += 1
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
