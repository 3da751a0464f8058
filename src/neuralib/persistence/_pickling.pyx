# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False, embedsignature.format=clinic
"""What runs for each small pickle: the reducers and the targets that Python's compiled pickler calls, and quick checks.

``tests/reference.py`` has each of these in plain Python, to read, and to compare with.
"""

import pickle
import sys

cimport cython

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject

cdef extern from "string.h":
    int memcmp(const void* a, const void* b, size_t size) noexcept nogil

cdef extern from "Python.h":
    enum:
        PyBUF_READ
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    object PyPickleBuffer_FromObject(object obj)

# Filled when numpy is first used, perhaps by several threads at once. An entry stays once it is made, because
# reduce_array uses entries without owning a reference.
cdef dict ARRAY_CODES = {}


def know_array_codes(dict codes not None):
    """Add to the dtypes that :func:`reduce_array` writes, each with the text that numpy makes it from."""
    for dtype, text in codes.items():
        ARRAY_CODES.setdefault(dtype, (dtype, text))


def reduce_array(array, /):
    """Return how to make *array*, an exact ``numpy.ndarray``, again: what ``object.__reduce_ex__`` returns for others.

    An array of a known dtype in contiguous memory becomes ``ndarray(shape, text, buffer)``, a call that every numpy
    understands. So do texts, bytes, records, swapped numbers and long doubles, which numpy 2 would write by a function
    that numpy 1 lacks; records with their dtype itself. Others are reduced by numpy.
    """
    dtype = array.dtype
    cdef PyObject* known = PyDict_GetItemWithError(ARRAY_CODES, dtype)
    if known is NULL:
        return _reduce_other(array, dtype)
    # Dtypes are equal whatever their metadata; only a dtype that was made by hand has some.
    if (<tuple> known)[0] is not dtype and dtype.metadata is not None:
        return array.__reduce_ex__(5)
    text = (<tuple> known)[1]
    flags = array.flags
    if flags.c_contiguous:
        return type(array), (array.shape, text, PyPickleBuffer_FromObject(array))
    if flags.f_contiguous:
        return type(array), (array.shape, text, PyPickleBuffer_FromObject(array), 0, None, "F")
    return array.__reduce_ex__(5)


cdef object _reduce_other(array, dtype):
    """Return the same for an array of another dtype than those that are known."""
    if dtype.hasobject or dtype.metadata is not None or dtype.kind not in "USVbiufc":
        return array.__reduce_ex__(5)
    flags = array.flags
    if not (flags.c_contiguous or flags.f_contiguous):
        return array.__reduce_ex__(5)
    code = dtype if dtype.kind == "V" else dtype.str
    if dtype.isbuiltin == 2 or (dtype.kind == "V" and dtype.names is None and type(dtype).__module__ != "numpy.dtypes"):
        return array.__reduce_ex__(5)  # a type that some library added
    try:
        memory = PyPickleBuffer_FromObject(array)
    except ValueError:  # records with dates in them
        return array.__reduce_ex__(5)
    if flags.c_contiguous:
        return type(array), (array.shape, code, memory)
    return type(array), (array.shape, code, memory, 0, None, "F")


def reduce_dtype(dtype, /):
    """Return how to make *dtype*, of records or raw memory, again.

    The dtype of aligned records is written by a call, ``dtype({...}, True)``: in their states, numpy 1 and 2 note in
    different forms that they are aligned. All others are reduced by numpy.
    """
    reduced = dtype.__reduce_ex__(5)
    make, (code, *_) = reduced[:2]
    if not dtype.isalignedstruct or dtype.metadata is not None or type(code) is not str:
        return reduced  # of numpy.record too: numpy 1 has another name for their arrays
    parts = [dtype.fields[name] for name in dtype.names]
    if len(dtype.fields) != len(parts):
        return reduced  # with titles
    spec = {"names": list(dtype.names), "formats": [part[0] for part in parts], "offsets": [part[1] for part in parts]}
    return make, ({**spec, "itemsize": dtype.itemsize}, True)


def reduce_object(obj, /):
    """Return how to make *obj* again, for a type without a registered reducer."""
    return obj.__reduce_ex__(5)


cdef object ABSENT = object()
cdef object PICKLER = pickle.Pickler
cdef object PICKLE_BUFFER = pickle.PickleBuffer
cdef object MODULES = sys.modules

# The classes whose packages are remembered; classes that programs make while they run must not fill the memory.
cdef enum:
    MOST_CLASSES = 1000


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class Reducers:
    """The reducers of :class:`FirstChunk`: ours first, then those that users registered, at any time.

    For all other types it has :func:`reduce_object`. A dict would raise a KeyError there, which takes longer than
    reducing many an object.

    :param registered: ``copyreg.dispatch_table``
    :param package_of: returns the name and the version of the package of a class, or None
    """

    cdef dict ours
    cdef dict registered
    cdef object package_of
    cdef dict packages

    def __init__(self, dict registered not None, package_of not None):
        self.ours = {}
        self.registered = registered
        self.package_of = package_of
        self.packages = {}

    def __len__(self):
        return len(self.ours)

    def __setitem__(self, kind, reducer):
        self.ours[kind] = reducer

    cdef object reducer_of_others(self, kind):
        found = self.registered.get(kind)
        if found is None:
            if issubclass(kind, type):
                raise KeyError(kind)  # picklers write classes by name
            return reduce_object
        return found

    cdef object package(self, kind):
        """Return the name and the version of the package of the class *kind*, or None."""
        found = self.packages.get(kind, ABSENT)
        if found is ABSENT:
            if len(self.packages) >= MOST_CLASSES:
                self.packages.clear()
            found = self.packages[kind] = self.package_of(kind)
        return found


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class FirstChunk:
    """A target for a pickler. It keeps one small chunk, which is all of most results, and passes on any more.

    It is the pickler's table of reducers too, and notes the packages of the objects' classes. Where it noted some, it
    keeps the chunk as *noted*, so that results without such objects need not be asked.

    :param limit: a chunk of so many bytes or more is passed on, too
    :param begin_rest: called without arguments before the first chunk is passed on; returns the object to write to
    :param reducers: what the table has
    """

    cdef readonly bytes first
    cdef readonly bytes noted
    cdef readonly object rest
    cdef readonly dict packages
    cdef Py_ssize_t limit
    cdef object begin_rest
    cdef Reducers reducers
    cdef object last_kind

    def __init__(self, Py_ssize_t limit, begin_rest not None, Reducers reducers not None):
        self.limit = limit
        self.begin_rest = begin_rest
        self.reducers = reducers

    def write(self, data, /):
        if self.rest is None:
            if self.first is None and self.noted is None and type(data) is bytes and len(<bytes> data) < self.limit:
                if self.packages is None:
                    self.first = <bytes> data
                else:
                    self.noted = <bytes> data
                return
            self.rest = self.begin_rest()
            if self.first is not None:
                self.rest.write(self.first)
                self.first = None
            elif self.noted is not None:
                self.rest.write(self.noted)
                self.noted = None
        self.rest.write(data)

    def dump(self, value, /):
        """Pickle *value* into this, by its own table."""
        pickler = PICKLER(self, 5)
        pickler.dispatch_table = self
        pickler.dump(value)

    def __getitem__(self, kind):
        if self.reducers is None:  # __init__ was not called
            raise KeyError(kind)
        found = self.reducers.ours.get(kind)
        if found is not None:
            return found
        found = self.reducers.reducer_of_others(kind)
        if kind is not self.last_kind:
            self.last_kind = kind
            package = self.reducers.package(kind)
            if package is not None:
                if self.packages is None:
                    self.packages = {}
                self.packages[package[0]] = package[1]
        return found


# How large arrays are announced: bytearray8 and binbytes8, with lengths of eight bytes, and binbytes, with four.
cdef enum:
    BYTEARRAY8 = 0x96
    BINBYTES8 = 0x8E
    BINBYTES = 0x42
    ALIGNMENT = 64  # bytes


cdef inline unsigned long long _number(const unsigned char* data, int n_bytes) noexcept nogil:
    """Return the number that *data* is, its lowest byte first."""
    cdef unsigned long long found = 0
    cdef int i
    for i in range(n_bytes):
        found |= <unsigned long long> data[i] << 8 * i
    return found


cdef Py_ssize_t _header_bytes(bytes chunk, Py_ssize_t size):
    """Return the length of the instruction at the end of *chunk* that announces *size* bytes; 0 where there is none."""
    cdef Py_ssize_t length = len(chunk)
    cdef const unsigned char* end = <const unsigned char*> <const char*> chunk + length
    if length >= 9 and end[-9] in (BYTEARRAY8, BINBYTES8) and _number(end - 8, 8) == <unsigned long long> size:
        return 9
    if length >= 5 and end[-5] == BINBYTES and _number(end - 4, 4) == <unsigned long long> size:
        return 5
    return 0


cdef bint _is_of_array(memory):
    """Return whether *memory* is that of an array of numpy, of no subclass."""
    # None blocks the import of numpy, and a numpy that another thread is just importing lacks the class.
    return type(memory.obj) is getattr(MODULES.get("numpy"), "ndarray", None)


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class PickleWriter:
    """A target for a pickler: aligns the memory of large arrays, notes where they are, and adds up checksums.

    The last chunk is held, because its end may announce an array.

    :param target: gets all else by its ``write``
    :param checksum: computes the CRC-32 of a buffer, going on from another one
    :param write_large: is given *target*, data of more than *at_once* bytes, and the checksum before it; writes the
        data, and returns the checksum after it
    """

    cdef readonly object target
    cdef public object draft
    cdef readonly bytes held
    cdef readonly Py_ssize_t length
    cdef readonly object whole
    cdef readonly object structure
    cdef readonly list arrays
    cdef object checksum
    cdef object write_large
    cdef Py_ssize_t at_once

    def __init__(self, target not None, checksum not None, write_large not None, Py_ssize_t at_once):
        self.target = target
        self.checksum = checksum
        self.write_large = write_large
        self.at_once = at_once
        self.whole = self.structure = 0
        self.arrays = []

    def write(self, data, /):
        cdef bytes held = self.held
        cdef Py_ssize_t header
        self.held = None
        if type(data) is bytes:
            if held is not None:
                self.put_structure(held, len(held))
            self.held = <bytes> data
            return
        memory = data.raw() if type(data) is PICKLE_BUFFER else memoryview(data).cast("B")
        if held is not None:
            header = _header_bytes(held, len(memory))
            if header > 0 and _is_of_array(memory):
                self.put_array(held, header, memory)
                return
            self.put_structure(held, len(held))
        self.put_structure(memory, len(memory))

    cdef put_array(self, bytes held, Py_ssize_t header, memory):
        """Write *held*, whose last *header* bytes announce *memory*, with a push and a pop that align the memory."""
        cdef Py_ssize_t before = len(held) - header
        cdef Py_ssize_t begin = self.length + before
        cdef Py_ssize_t filling = -(begin + 3 + header) & (ALIGNMENT - 1)
        cdef Py_ssize_t size = len(memory)
        announced = b"%bC%c%b0%b" % (held[:before], filling, bytes(filling), held[before:])
        self.put_structure(announced, len(<bytes> announced))
        if not self.arrays:
            self.structure = self.whole
        array = memory.obj
        self.arrays.append((begin, self.length, size, held[before] == BYTEARRAY8, array.shape, array.dtype.str))
        self.put(memory, size)

    cdef put_structure(self, data, Py_ssize_t size):
        """Write *data*, which is not the memory of an array."""
        if self.arrays:
            self.structure = self.checksum(data, self.structure)
        self.put(data, size)

    cdef put(self, data, Py_ssize_t size):
        self.length += size
        if size > self.at_once:
            self.whole = self.write_large(self.target, data, self.whole)
            return
        self.whole = self.checksum(data, self.whole)
        self.target.write(data)


# ---------------------------------------------------------------------------------------------- reading

# What stands after the card: a magic number, the lengths of pickle and card, and two checksums.
cdef enum:
    MAGIC_BYTES = 8
    LENGTHS_BYTES = 12
    SUMS_BYTES = 8


cdef bint _has_seal(Py_buffer* view, const unsigned char* seal, Py_ssize_t size, checksum) except -1:
    """Return whether *view* begins as a pickle and ends with *seal*, right lengths and a right checksum."""
    cdef const unsigned char* start = <const unsigned char*> view.buf
    cdef const unsigned char* lengths
    cdef Py_ssize_t length = view.len - size - LENGTHS_BYTES - SUMS_BYTES  # of the pickle
    if length < 1 or size < MAGIC_BYTES or start[0] != 0x80:
        return False
    lengths = start + length + size
    if (
        memcmp(start + length, seal, size) != 0
        or _number(lengths, 8) != <unsigned long long> length
        or _number(lengths + 8, 4) != <unsigned long long> (size - MAGIC_BYTES)
    ):
        return False
    found = checksum(PyMemoryView_FromMemory(<char*> start, view.len - SUMS_BYTES, PyBUF_READ))
    return found == _number(lengths + LENGTHS_BYTES, 4)


def is_sealed(data, bytes seal not None, checksum not None, /):
    """Return whether *data* begins as a pickle and ends with *seal*, right lengths and a right checksum.

    False asks for a closer look: the card may be another, or *data* damaged.

    :param seal: the card of a class, and the magic number after it
    :param checksum: computes the CRC-32 of a buffer
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _has_seal(&view, <const unsigned char*> seal, len(seal), checksum)
    finally:
        PyBuffer_Release(&view)


# ---------------------------------------------------------------------------------------------- the first items

# By opcode: what follows it (0 to 8: so many bytes; -1, -4, -8: a length of so many bytes, and as much as that says),
# and by how many objects the stack grows. What no pickler writes in protocol 5, and marks, are not in it.
cdef enum:
    DEEPEST = 64  # marks
    UNKNOWN = 99
    FIRST_OPCODE = 11  # after the protocol, and a frame with its length
cdef signed char ARGUMENTS[256]
cdef signed char GROWTH[256]


cdef void _know(bytes opcodes, int arguments, int growth):
    cdef unsigned char opcode
    for opcode in opcodes:
        ARGUMENTS[opcode] = arguments
        GROWTH[opcode] = growth


cdef void _know_opcodes():
    cdef int i
    for i in range(256):
        ARGUMENTS[i] = 0
        GROWTH[i] = UNKNOWN
    _know(b"N\x88\x89}])\x8f", 0, 1)
    _know(b"Kh\x82", 1, 1)
    _know(b"M\x83", 2, 1)
    _know(b"Jj\x84", 4, 1)
    _know(b"G", 8, 1)
    _know(b"\x8cC\x8a", -1, 1)
    _know(b"XB\x8b", -4, 1)
    _know(b"\x8d\x8e\x96", -8, 1)
    _know(b"\x94\x85", 0, 0)
    _know(b"\x86Rb\x81\x93a0", 0, -1)
    _know(b"\x87s\x92", 0, -2)


_know_opcodes()


cdef Py_ssize_t _end_of_items(const unsigned char* data, Py_ssize_t size, Py_ssize_t items) noexcept nogil:
    """Return where the first *items* items of the dict end that the pickle *data* holds.

    :return: -1 where that is not plain to see
    """
    cdef Py_ssize_t at = FIRST_OPCODE + 3, start, depth = 0, found = -1, wanted = 2 * items
    cdef unsigned long long length
    cdef Py_ssize_t marks[DEEPEST]
    cdef int n_marks = 0, arguments, growth
    cdef unsigned char opcode
    if size < at or data[0] != 0x80 or data[1] != 5 or data[2] != 0x95 or data[11] != c"}" or data[13] != c"(":
        return -1
    while at < size:
        start = at
        opcode = data[at]
        at += 1
        growth = GROWTH[opcode]
        if growth == UNKNOWN:
            if opcode == c"(":
                if n_marks == DEEPEST:
                    return -1
                marks[n_marks] = depth
                n_marks += 1
                continue
            if n_marks == 0:  # the end of all items
                if opcode != c"u" or at + 1 != size or data[at] != c".":
                    return -1
                if depth < wanted:  # there are fewer: what was found is within the last one
                    return -1
                return start if depth == wanted else found
            if opcode not in (c"t", 0x91, c"e", c"u", 0x90, c"1"):
                return -1
            n_marks -= 1
            depth = marks[n_marks]
            growth = opcode in (c"t", 0x91)
        else:
            arguments = ARGUMENTS[opcode]
            if arguments < 0:
                if size - at < -arguments:
                    return -1
                length = _number(data + at, -arguments)
                at -= arguments
                if length > <unsigned long long> (size - at):
                    return -1
                at += <Py_ssize_t> length
            else:
                at += arguments
        if depth == wanted and growth == 1:
            found = start  # the next item begins, or a part of the value before it
        depth += growth
        if depth < 0:
            return -1
    return -1


def begins_alike(data, bytes content not None, Py_ssize_t items, checksum not None, /):
    """Return whether *data* is whole, has the card of *content*, and holds the same first *items* items.

    False asks for a closer look: equal values may be written in different ways.

    :param content: the whole content of a small file: the pickle of a dict, a card, and the end
    :param checksum: computes the CRC-32 of a buffer
    """
    cdef Py_buffer view
    cdef const unsigned char* mine = <const unsigned char*> <const char*> content
    cdef const unsigned char* theirs
    cdef Py_ssize_t size = len(content), rest, end
    if size < MAGIC_BYTES + LENGTHS_BYTES + SUMS_BYTES:
        return False
    rest = <Py_ssize_t> _number(mine + size - SUMS_BYTES - 4, 4) + MAGIC_BYTES  # card and magic number
    size -= rest + LENGTHS_BYTES + SUMS_BYTES
    if size < 1 or mine[0] != 0x80:
        return False
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not _has_seal(&view, mine + size, rest, checksum):
            return False
        theirs = <const unsigned char*> view.buf
        end = _end_of_items(mine, size, items)
        return (
            end > 0
            and end == _end_of_items(theirs, view.len - rest - LENGTHS_BYTES - SUMS_BYTES, items)
            and memcmp(theirs + FIRST_OPCODE, mine + FIRST_OPCODE, end - FIRST_OPCODE) == 0
        )
    finally:
        PyBuffer_Release(&view)
