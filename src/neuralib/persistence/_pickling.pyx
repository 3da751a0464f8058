# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""What Python's compiled pickler calls for each array, and writes each small result to."""

cimport cython

from cpython.object cimport PyObject

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    object PyPickleBuffer_FromObject(object obj)

# Filled when numpy is first there, perhaps by several threads at once: each entry is made once and stays, because
# reduce_array looks at entries without holding on to them.
cdef dict ARRAY_CODES = {}


def know_array_codes(dict codes not None):
    """Take over which dtypes :func:`reduce_array` writes: each with the text that makes it again."""
    for dtype, text in codes.items():
        ARRAY_CODES.setdefault(dtype, (dtype, text))


def reduce_array(array, /):
    """Return how to make *array*, an exact ``numpy.ndarray``, again, as ``object.__reduce_ex__`` would.

    An array of a known dtype that lies in memory in one piece becomes ``ndarray(shape, text, buffer)``, a call that
    every numpy understands; all others go numpy's own way.
    """
    dtype = array.dtype
    cdef PyObject* known = PyDict_GetItemWithError(ARRAY_CODES, dtype)
    if known is NULL:
        return array.__reduce_ex__(5)
    # Metadata does not count when dtypes are compared, but only a dtype that was made by hand has some.
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
    """Return how to make *obj* again, as a pickler asks for it where nothing was registered for its type."""
    return obj.__reduce_ex__(5)


@cython.final
cdef class Reducers:
    """What a pickler looks types up in: ours first, then those that users registered, at any time.

    For all other types it is :func:`reduce_object`, where a dict would raise a KeyError: that takes longer than to
    reduce many an object.

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
                raise KeyError(kind)  # a class, which picklers write by its name
            return reduce_object
        return found


@cython.final
cdef class FirstChunk:
    """What a pickler writes to: holds one chunk, which is all that most results have, and passes on what is more.

    :param limit: size in bytes from which on a chunk is passed on too
    :param begin_rest: called without arguments at the first chunk too many; returns the object to write to
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
