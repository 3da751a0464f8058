# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False, embedsignature.format=clinic
"""Reads the names of a whole folder at once: which belong to a class, the texts of their keys, and their order.

Equal texts are kept once; a name is kept as a few small numbers, each the place of one text. So a question about a key
is answered once for each of its values, not once for each file. ``tests/reference.py`` has each of these functions in
plain Python, to read, and to compare with.
"""

cimport cython

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memcpy, memset, strcspn

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    int PyUnicode_KIND(object text) noexcept
    void* PyUnicode_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    int PyUnicode_1BYTE_KIND
    bint PyUnicode_IS_ASCII(object text) noexcept

# The most digits that always fit a long long; how many times as large as their count numbers may be that are sorted by
# a table of places; and below which number there is such a table for the texts of a key.
cdef enum:
    MAX_DIGITS = 18
    MOST_GAPS = 8
    SMALL_NUMBERS = 1 << 20


cdef inline Py_ssize_t _common(const char* a, const char* b, Py_ssize_t size) noexcept nogil:
    """Return with how many same bytes two texts of *size* bytes begin."""
    cdef unsigned long long first = 0, second = 0
    cdef Py_ssize_t at = 0
    while at + 8 <= size:
        memcpy(&first, a + at, 8)
        memcpy(&second, b + at, 8)
        if first != second:
            break
        at += 8
    while at < size and a[at] == b[at]:
        at += 1
    return at


cdef inline bint _same(const char* a, const char* b, Py_ssize_t size) noexcept nogil:
    """Return whether two texts of *size* bytes are the same. For short ones, to call ``memcmp`` takes longer."""
    return _common(a, b, size) == size


cdef inline Py_ssize_t _find(
    const char* text, Py_ssize_t at, Py_ssize_t end, const char* literal, Py_ssize_t size
) noexcept nogil:
    """Where *literal* begins first in ``text[at:end]``, or -1."""
    if size == 0:
        return at if at <= end else -1
    while at + size <= end:
        if text[at] == literal[0] and _same(text + at, literal, size):
            return at
        at += 1
    return -1


cdef inline Py_ssize_t _find_last(
    const char* text, Py_ssize_t at, Py_ssize_t end, const char* literal, Py_ssize_t size
) noexcept nogil:
    """Where *literal* begins last in ``text[at:end]``, or -1."""
    cdef Py_ssize_t i = end - size
    while i >= at:
        if size == 0 or (text[i] == literal[0] and _same(text + i, literal, size)):
            return i
        i -= 1
    return -1


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class _Pattern:
    """The literals of a name, and the column of each text between them."""

    cdef tuple literals
    cdef int n
    cdef const char** data
    cdef Py_ssize_t* sizes
    cdef int* columns

    def __cinit__(self, tuple literals not None, tuple columns not None, int n_columns):
        cdef int i
        if not literals or len(columns) != len(literals) - 1:
            raise ValueError("a pattern has one column for each text between its literals")
        self.literals = tuple([_encoded(literal) for literal in literals])
        self.n = len(literals)
        self.data = <const char**> PyMem_Malloc(self.n * sizeof(char*))
        self.sizes = <Py_ssize_t*> PyMem_Malloc(self.n * sizeof(Py_ssize_t))
        self.columns = <int*> PyMem_Malloc(self.n * sizeof(int))
        if self.data is NULL or self.sizes is NULL or self.columns is NULL:
            raise MemoryError
        for i in range(self.n):
            self.data[i] = <bytes> self.literals[i]
            self.sizes[i] = len(<bytes> self.literals[i])
        for i in range(self.n - 1):
            self.columns[i] = columns[i]
            if not 0 <= self.columns[i] < n_columns:
                raise ValueError(f"there is no column {columns[i]}")

    def __dealloc__(self):
        PyMem_Free(self.data)
        PyMem_Free(self.sizes)
        PyMem_Free(self.columns)

    cdef int ways(
        self, const char* name, Py_ssize_t size, Py_ssize_t* starts, Py_ssize_t* stops, Py_ssize_t known
    ) noexcept nogil:
        """Return in how many ways *name* matches: 0, 1, or 2 for more than one.

        The first way, in which each text is as short as it can be, is written to *starts* and *stops*.

        :param known: so many bytes are those of the name before, whose only way *starts* and *stops* have; 0 for none
        """
        cdef Py_ssize_t at = self.sizes[0], end = size - self.sizes[self.n - 1], found, bound
        cdef int i, first = 1, last = self.n - 1
        if (
            end < (0 if last == 0 else at)
            or (known < at and not _same(name, self.data[0], at))
            or not _same(name + end, self.data[last], size - end)
        ):
            return 0
        if last == 0:
            return 1 if end == 0 else 0
        while known and first < last and stops[first - 1] + self.sizes[first] <= min(known, end):
            at = stops[first - 1] + self.sizes[first]
            first += 1
        for i in range(first, last):
            starts[i - 1] = at
            found = _find(name, at, end, self.data[i], self.sizes[i])
            if found < 0:
                return 0
            stops[i - 1] = found
            at = found + self.sizes[i]
        starts[last - 1] = at
        stops[last - 1] = bound = end
        # Another way to read it puts at least one literal further to the right.
        for i in range(last - 1, max(first - 2, 0), -1):
            found = _find_last(name, stops[i - 1], bound, self.data[i], self.sizes[i])
            if found != stops[i - 1]:
                return 2
            bound = found
        return 1


cdef bytes _encoded(str text):
    """Return *text* in UTF-8. What is no character, as in names of files in another encoding, stays what it is."""
    return text.encode("utf-8", "surrogatepass")


cdef str _decoded(const char* text, Py_ssize_t size):
    """Return the text whose UTF-8 is *text*."""
    return PyUnicode_DecodeUTF8(text, size, "surrogatepass")


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class _Column:
    """The texts of one key, each of which has a code: its place among them."""

    cdef list texts
    cdef dict codes
    cdef const char* latest  # the text of the name before: names of one series often follow each other
    cdef Py_ssize_t latest_size
    cdef int latest_code
    cdef int* numbers  # the codes of small numbers, each plus one: to find them takes less time than in a dict

    def __cinit__(self, list texts not None):
        self.texts = texts
        self.codes = {}
        self.latest_size = -1

    def __dealloc__(self):
        PyMem_Free(self.numbers)

    cdef int code_of(self, const char* text, Py_ssize_t size) except -1:
        """Return the code of *text*, which must stay in memory; a new one where it is new."""
        cdef int number
        if size == self.latest_size and _same(text, self.latest, size):
            return self.latest_code
        number = _small_number(text, size)
        self.latest_code = self._of_number(text, size, number) if number >= 0 else self._of_text(text, size)
        self.latest, self.latest_size = text, size
        return self.latest_code

    cdef int _of_number(self, const char* text, Py_ssize_t size, int number) except -1:
        if self.numbers is NULL:
            self.numbers = <int*> PyMem_Calloc(SMALL_NUMBERS, sizeof(int))
            if self.numbers is NULL:
                raise MemoryError
        if self.numbers[number] == 0:
            self.texts.append(_decoded(text, size))
            self.numbers[number] = <int> len(self.texts)
        return self.numbers[number] - 1

    cdef int _of_text(self, const char* text, Py_ssize_t size) except -1:
        cdef str found = _decoded(text, size)
        cdef PyObject* known = PyDict_GetItemWithError(self.codes, found)
        if known is not NULL:
            return <int> <object> known
        self.codes[found] = len(self.texts)
        self.texts.append(found)
        return <int> len(self.texts) - 1


cdef int _small_number(const char* text, Py_ssize_t size) noexcept nogil:
    """Return the number below :data:`SMALL_NUMBERS` of which *text* is the ``str``, or -1 where there is none."""
    cdef int number = 0
    cdef Py_ssize_t i
    if not 0 < size <= 7 or (text[0] == 48 and size > 1):
        return -1
    for i in range(size):
        if not 48 <= text[i] <= 57:
            return -1
        number = number * 10 + (text[i] - 48)
    return number if number < SMALL_NUMBERS else -1


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class NameTable:
    """Names, and the texts of their keys. Filled once by :func:`read_names`, never changed, so it needs no lock."""

    cdef readonly tuple texts
    cdef readonly bint any_doubtful
    cdef readonly int last_pattern
    cdef list parts  # in which the names are
    cdef Py_ssize_t rows, room
    cdef int width
    cdef const char** names  # in UTF-8, each with a slash or a NUL character after it
    cdef int* codes
    cdef char* doubts

    def __cinit__(self, int width):
        self.parts = []
        self.last_pattern = -1
        self.texts = tuple([[] for _ in range(width)])
        self.width = width
        self.resize(0)

    def __dealloc__(self):
        PyMem_Free(self.names)
        PyMem_Free(self.codes)
        PyMem_Free(self.doubts)

    def __len__(self):
        return self.rows

    cdef int resize(self, Py_ssize_t room) except -1:
        """Get memory for so many rows, and keep the rows that there are."""
        cdef void* names = PyMem_Realloc(self.names, max(room, 1) * sizeof(char*))
        if names is NULL:
            raise MemoryError
        self.names = <const char**> names
        cdef void* codes = PyMem_Realloc(self.codes, max(room * self.width, 1) * sizeof(int))
        if codes is NULL:
            raise MemoryError
        self.codes = <int*> codes
        cdef void* doubts = PyMem_Realloc(self.doubts, max(room, 1))
        if doubts is NULL:
            raise MemoryError
        self.doubts = <char*> doubts
        self.room = room
        return 0

    cdef Py_ssize_t _row(self, Py_ssize_t row) except -1:
        if not 0 <= row < self.rows:
            raise IndexError("there is no such row")
        return row

    def name(self, Py_ssize_t row):
        """Return the name of the row."""
        cdef const char* name = self.names[self._row(row)]
        return _decoded(name, strcspn(name, "/"))

    def all_names(self):
        """Return the names of all rows."""
        return [self.name(row) for row in range(self.rows)]

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

    def groups(self, Py_ssize_t column):
        """Return the codes of one column by those of all others: lists by tuples."""
        cdef int kept = self._column(column)
        cdef Py_ssize_t row
        cdef int* codes = NULL
        cdef int* former = NULL
        cdef dict found = {}
        cdef list group = None
        for row in range(self.rows):
            codes = self.codes + row * self.width
            # Names of one group often follow each other.
            if former is NULL or memcmp(codes, former, kept * sizeof(int)) or memcmp(
                codes + kept + 1, former + kept + 1, (self.width - kept - 1) * sizeof(int)
            ):
                group = found.setdefault(tuple([codes[i] for i in range(self.width) if i != kept]), [])
            group.append(codes[kept])
            former = codes
        return found

    def select(self, tuple admitted not None, tuple ranks not None):
        """Return the rows that are admitted, in order.

        :param admitted: for each column a byte for names that lack the text, then one for each of its texts: 0 where it
            is not admitted. None admits all. Doubtful names are always selected
        :param ranks: for each column a list with the rank of each of its texts, from 0 on; the first column counts
            most. None: the column does not count. Names that lack a text come before those that have it
        """
        cdef Py_ssize_t n = self.rows, row, used = 0
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
                if ranks[i] is not None and self._sort(i, <list?> ranks[i], rows, other, used):
                    rows, other = other, rows
            return [rows[row] for row in range(used)]
        finally:
            PyMem_Free(wanted)
            PyMem_Free(rows)
            PyMem_Free(other)

    cdef bint _sort(self, int column, list ranks, Py_ssize_t* rows, Py_ssize_t* target, Py_ssize_t n) except -1:
        """Sort *rows* into *target* by one column, and keep the order of what is equal; False where they are sorted."""
        cdef Py_ssize_t kinds = len(ranks), i, place, at, last = 0
        cdef int code
        cdef bint is_sorted = True
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
                place = rank_of[code + 1]
                starts[place + 1] += 1
                is_sorted = is_sorted and last <= place
                last = place
            if is_sorted:
                return False
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
        return True


def read_names(list names not None, patterns not None, tuple wanted not None):
    """Return the table of those of *names* that match a pattern.

    A name that matches in more than one way, or more than one pattern, is doubtful.

    :param names: each a name; or as bytes, many names in UTF-8 with slashes between, for which no objects are made.
        Names that contain a slash or a NUL character are left out
    :param patterns: each a tuple of the literals of a name, and a tuple of the columns of the texts between them
    :param wanted: for each column the texts that are wanted, among them None where names without one are; None for all.
        Names with another text are left out, but not doubtful ones
    :return: the table; its ``last_pattern`` is the place of the last of *patterns* that a name matched first, or -1
    """
    cdef _Reader reader = _Reader(patterns, wanted)
    cdef NameTable table = reader.table
    cdef const char* name
    cdef const char* end
    cdef const char* stop
    cdef Py_ssize_t rows, size = 0
    cdef bint is_one, has_nul
    table.resize(len(names))  # which grows where there are many in one piece
    for part in names:
        is_one = type(part) is str
        if is_one and not PyUnicode_IS_ASCII(part):
            part = _encoded(part)
        name = _utf8_of(part, &size)
        end = name + size
        has_nul = memchr(name, 0, size) is not NULL
        rows = table.rows
        reader.is_former_first = False
        while name <= end:
            stop = <const char*> memchr(name, c"/", end - name)
            if stop is NULL:
                stop = end
            elif is_one:
                break
            if not has_nul or memchr(name, 0, stop - name) is NULL:
                reader.read(name, stop - name)
            name = stop + 1
        if table.rows > rows:
            table.parts.append(part)
    table.resize(table.rows)
    return table


def are_packed(bytes text not None, Py_ssize_t count, Py_ssize_t longest):
    """Return whether *text* is *count* names with slashes between, none of more than *longest* bytes or with a NUL."""
    cdef const char* name = text
    cdef const char* end = name + len(text)
    cdef const char* stop
    cdef Py_ssize_t found = 0
    if memchr(name, 0, end - name) is not NULL:
        return False
    while True:
        stop = <const char*> memchr(name, c"/", end - name)
        found += 1
        if stop is NULL:
            return found == count and end - name <= longest
        if stop - name > longest:
            return False
        name = stop + 1


cdef const char* _utf8_of(object part, Py_ssize_t* size) except NULL:
    """Return where *part* is, bytes or a text in ASCII, with a NUL character after it."""
    if type(part) is str:
        return PyUnicode_AsUTF8AndSize(part, size)
    size[0] = len(<bytes?> part)
    return <bytes> part


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class _Reader:
    """Fills a table with names."""

    cdef NameTable table
    cdef list patterns
    cdef list columns
    cdef tuple wanted
    cdef Py_ssize_t most  # texts in a name
    cdef Py_ssize_t* places  # the starts and stops of the texts in a name; then those of another way to read it
    cdef const char* former  # the name before
    cdef Py_ssize_t former_size
    cdef bint is_former_first  # whether it matched the first pattern alone, in one way, whose places are still there

    def __cinit__(self, patterns, tuple wanted not None):
        cdef int width = <int> len(wanted)
        self.table = NameTable(width)
        cdef _Pattern pattern
        self.patterns = [_Pattern(literals, columns, width) for literals, columns in patterns]
        self.columns = [_Column(texts) for texts in self.table.texts]
        self.wanted = None if wanted == (None,) * width else wanted
        self.most = 1
        for pattern in self.patterns:
            self.most = max(self.most, pattern.n)
        self.places = <Py_ssize_t*> PyMem_Malloc(4 * self.most * sizeof(Py_ssize_t))
        if self.places is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.places)

    cdef int read(self, const char* name, Py_ssize_t size) except -1:
        """Add *name* to the table if it matches and is wanted."""
        cdef NameTable table = self.table
        cdef _Pattern pattern, first = None
        cdef _Column column
        cdef int* codes
        cdef Py_ssize_t* starts = self.places
        cdef Py_ssize_t* stops = starts + self.most
        cdef Py_ssize_t known = 0
        cdef int i, found, ways = 0, number = -1, matched = -1
        if self.is_former_first:
            known = _common(name, self.former, min(size, self.former_size))
        for pattern in self.patterns:
            number += 1
            if first is not None:
                found = pattern.ways(name, size, stops + self.most, stops + 2 * self.most, 0)
            else:
                found = pattern.ways(name, size, starts, stops, known if number == 0 else 0)
                if found:
                    first, matched = pattern, number
            ways += found
        self.former, self.former_size = name, size
        self.is_former_first = ways == 1 and matched == 0
        if first is None or (
            ways == 1 and self.wanted is not None and not _is_wanted(name, first, starts, stops, self.wanted)
        ):
            return 0
        if table.rows == table.room:
            table.resize(2 * table.room + 8)
        codes = table.codes + table.rows * table.width
        for i in range(table.width):
            codes[i] = -1
        for i in range(first.n - 1):
            column = self.columns[first.columns[i]]
            codes[first.columns[i]] = column.code_of(name + starts[i], stops[i] - starts[i])
        table.names[table.rows] = name
        table.doubts[table.rows] = ways > 1
        table.any_doubtful = table.any_doubtful or ways > 1
        table.last_pattern = max(table.last_pattern, matched)
        table.rows += 1
        return 0


cdef bint _is_wanted(
    const char* name, _Pattern pattern, const Py_ssize_t* starts, const Py_ssize_t* stops, tuple wanted
) except -1:
    cdef int i, column
    for column in range(len(wanted)):
        if wanted[column] is None:
            continue
        text = None
        for i in range(pattern.n - 1):
            if pattern.columns[i] == column:
                text = _decoded(name + starts[i], stops[i] - starts[i])
        if text not in <frozenset?> wanted[column]:
            return False
    return True


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
        if text is None:
            raise TypeError("a text is a str, not None")
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
