# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Called by Python's compiled pickler: a reducer for arrays, a table of reducers, and a target for small pickles.

``tests/reference.py`` has each of these in plain Python, to read, and to compare with.
"""

cimport cython

from cpython.object cimport PyObject

cdef extern from "Python.h":
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
    understands. Others are reduced by numpy.
    """
    dtype = array.dtype
    cdef PyObject* known = PyDict_GetItemWithError(ARRAY_CODES, dtype)
    if known is NULL:
        return array.__reduce_ex__(5)
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


def reduce_object(obj, /):
    """Return how to make *obj* again, for a type without a registered reducer."""
    return obj.__reduce_ex__(5)


@cython.final
cdef class Reducers:
    """The table in which a pickler looks up reducers: ours first, then those that users registered, at any time.

    For all other types it has :func:`reduce_object`. A dict would raise a KeyError there, which takes longer than
    reducing many an object.

    :param registered: ``copyreg.dispatch_table``
    """

    cdef dict ours
    cdef dict registered

    def __init__(self, dict registered not None):
        self.ours = {}
        self.registered = registered

    def __len__(self):
        return len(self.ours)

    def __setitem__(self, kind, reducer):
        self.ours[kind] = reducer

    def __getitem__(self, kind):
        found = self.ours.get(kind)
        if found is None:
            found = self.registered.get(kind)
        if found is None:
            if issubclass(kind, type):
                raise KeyError(kind)  # picklers write classes by name
            return reduce_object
        return found


@cython.final
cdef class FirstChunk:
    """A target for a pickler. It keeps one small chunk, which is all of most results, and passes on any more.

    :param limit: a chunk of so many bytes or more is passed on, too
    :param begin_rest: called without arguments before the first chunk is passed on; returns the object to write to
    """

    cdef readonly bytes first
    cdef readonly object rest
    cdef Py_ssize_t limit
    cdef object begin_rest

    def __init__(self, Py_ssize_t limit, begin_rest not None):
        self.limit = limit
        self.begin_rest = begin_rest

    def write(self, data, /):
        if self.rest is None:
            if self.first is None and type(data) is bytes and len(<bytes> data) < self.limit:
                self.first = <bytes> data
                return
            self.rest = self.begin_rest()
            if self.first is not None:
                self.rest.write(self.first)
                self.first = None
        self.rest.write(data)
