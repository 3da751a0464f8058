# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""The loops that run once for each field of each result.

Plain values go in and out: no policy, no file. The same functions in plain Python, for reading and for comparing, are
in ``tests/reference.py``.
"""

cimport cython

from cpython.object cimport PyObject

from neuralib.persistence._errors import (
    AutoIncFieldNotResolvedError,
    KeyNotSetError,
    MissingFieldError,
    NotPersistenceClassError,
    UnknownFieldError,
)

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(dict d, object key) except? NULL
    int PyDict_Next(dict d, Py_ssize_t* pos, PyObject** key, PyObject** value) noexcept
    dict PyDict_Copy(dict d)
    object PyObject_GenericGetDict(object obj, void* unused)
    int PyObject_SetAttr(object obj, object name, object value) except -1
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_UCS4 PyUnicode_MAX_CHAR_VALUE(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_CheckExact(object obj)
    bint PyLong_CheckExact(object obj)
    long long PyLong_AsLongLongAndOverflow(object obj, int* overflow) except? -1
    ctypedef struct PyTypeObject:
        object (*tp_new)(PyTypeObject* cls, PyObject* args, PyObject* kwargs)

cdef extern from "string.h":
    void* memcpy(void* target, const void* source, size_t size) noexcept nogil
    void* memchr(const void* where, int byte, size_t size) noexcept nogil
    int memcmp(const void* a, const void* b, size_t size) noexcept nogil

cdef extern from "_platform.h":
    int PLATFORM_IS_WINDOWS

cdef extern from *:
    """
    /* The attribute of a type without the detour over its metatype: a borrowed reference from the type's own cache. */
    #if PY_VERSION_HEX < 0x030F0000 && !defined(Py_GIL_DISABLED)
        #define nlp_type_attribute(cls, name) _PyType_Lookup((PyTypeObject*)(cls), (name))
    #else
        #define nlp_type_attribute(cls, name) ((void)(cls), (void)(name), (PyObject*)NULL)
    #endif
    #ifdef Py_GIL_DISABLED
        #define NLP_FREE_THREADED 1
    #else
        #define NLP_FREE_THREADED 0
    #endif
    """
    PyObject* nlp_type_attribute(object cls, object name) noexcept
    bint NLP_FREE_THREADED

cdef object ABSENT = object()
cdef tuple NO_ARGUMENTS = ()


@cython.final
cdef class Layout:
    """What the loops need to know of one persistence class. Filled once, never changed, so it needs no lock."""

    cdef readonly object owner
    cdef readonly tuple names
    cdef readonly frozenset required
    cdef readonly dict fallbacks
    cdef readonly str head
    cdef readonly tuple parts
    cdef readonly str autoinc
    cdef readonly bint number_shows
    cdef readonly bint plain_attributes
    cdef readonly bint plain_creation
    cdef readonly object wildcard
    cdef readonly object any_text
    cdef readonly object check
    cdef readonly object make_text
    cdef readonly set fixed_kinds

    def __init__(
        self,
        object owner not None,
        tuple names not None,
        frozenset required not None,
        dict fallbacks not None,
        str head not None,
        tuple parts not None,
        str autoinc,
        bint plain_attributes,
        bint plain_creation,
        object wildcard,
        object any_text not None,
        object check,
        object make_text not None,
        set fixed_kinds not None,
    ):
        self.owner = owner
        self.names = names
        self.required = required
        self.fallbacks = fallbacks
        self.head = head
        self.parts = parts
        self.autoinc = autoinc
        self.number_shows = autoinc in [it[0] for it in parts]
        self.plain_attributes = plain_attributes
        self.plain_creation = plain_creation
        self.wildcard = wildcard
        self.any_text = any_text
        self.check = check
        self.make_text = make_text
        self.fixed_kinds = fixed_kinds


cdef Layout layout_of(object cls):
    cdef PyObject* quick = nlp_type_attribute(cls, "_persistence_layout_") if isinstance(cls, type) else NULL
    if quick is not NULL and type(<object> quick) is Layout:
        return <Layout> quick
    found = getattr(cls, "_persistence_layout_", None)
    if not isinstance(found, Layout):
        raise NotPersistenceClassError(getattr(cls, "__qualname__", repr(cls)))
    return <Layout> found


# ---------------------------------------------------------------------------------------------- values

cdef bint _has_exactly(dict values, tuple names) except -1:
    """Whether *values* holds exactly *names*, in that order (compared as objects: attribute names are interned)."""
    cdef Py_ssize_t pos = 0, i = 0
    cdef PyObject* key = NULL
    cdef PyObject* value = NULL
    if len(values) != len(names):
        return False
    while PyDict_Next(values, &pos, &key, &value):
        if key != <PyObject*> names[i]:
            return False
        i += 1
    return True


def as_dict(data):
    """Return the fields of the result *data* that are set, as a new dict in the order of their declaration.

    :param data: a result: an instance of a persistence class
    :raises NotPersistenceClassError: *data* is no instance of a persistence class
    """
    if isinstance(data, type):
        raise NotPersistenceClassError(f"the class {data.__qualname__} itself (a result is its instance)")
    cdef Layout layout = layout_of(type(data))
    cdef dict found
    cdef str name
    if layout.plain_attributes and type(data) is layout.owner:
        # The copy is nobody else's, so that looking at it is safe without the GIL too.
        found = PyDict_Copy(<dict> PyObject_GenericGetDict(data, NULL))
        if _has_exactly(found, layout.names):
            return found
    found = {}
    for name in layout.names:
        value = getattr(data, name, ABSENT)
        if value is not ABSENT:  # a data field may not be computed yet
            found[name] = value
    return found


def new_from_dict(cls, dict values not None):
    """Return a new instance of *cls* with the fields of *values*, its ``__init__`` not called.

    Only for classes whose ``__init__`` is the generated one. What *values* has beyond the fields is ignored.

    :raises MissingFieldError: a key without a default is not in *values*
    """
    cdef Layout layout = layout_of(cls)
    cdef str name
    cdef PyObject* value
    if NLP_FREE_THREADED:
        values = PyDict_Copy(values)  # another thread may change the caller's
    if layout.plain_creation and cls is layout.owner and isinstance(cls, type):
        result = (<PyTypeObject*> cls).tp_new(<PyTypeObject*> cls, <PyObject*> NO_ARGUMENTS, NULL)
    else:
        result = cls.__new__(cls)
    for name in layout.names:
        value = PyDict_GetItemWithError(values, name)
        if value is not NULL:
            PyObject_SetAttr(result, name, <object> value)
        elif name in layout.fallbacks:
            PyObject_SetAttr(result, name, layout.fallbacks[name]())
        elif name in layout.required:
            raise MissingFieldError(cls.__qualname__, name)
    return result


# ---------------------------------------------------------------------------------------------- names

@cython.cdivision(True)  # it is never negative, so that C's division is Python's
cdef inline int _digits(long long number, char* target) noexcept nogil:
    """Write *number* (>= 0) in decimal at *target* (20 bytes at the most); return how many digits."""
    cdef char[20] reversed_digits
    cdef int n = 0, i
    while True:
        reversed_digits[n] = <char> (48 + number % 10)
        n += 1
        number = number // 10
        if number == 0:
            break
    for i in range(n):
        target[i] = reversed_digits[n - 1 - i]
    return n


cdef object _key_value(Layout layout, object data, dict overrides, str name):
    cdef PyObject* override
    if overrides is not None:
        override = PyDict_GetItemWithError(overrides, name)
        if override is not NULL:
            return <object> override
    if data is not None:
        value = getattr(data, name, ABSENT)
        if value is not ABSENT:
            return value
    raise KeyNotSetError(layout.owner.__qualname__, name)


cdef str _text_of(Layout layout, str name, object value, object as_text):
    cdef type kind
    cdef str text
    cdef int overflow = 0
    if value is layout.wildcard:
        return "*"
    if type(value) is layout.any_text:  # a placeholder for any text, or for none
        return value.text
    if as_text is not None:
        value = as_text(value)
        if value is None:
            return None
    kind = type(value)
    if kind is str:
        if PyUnicode_MAX_CHAR_VALUE(value) < 0x300:  # no accent stands alone there
            return <str> value
    elif kind is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow:
            return str(value)
    elif kind is float or kind is bool or value is None:
        return str(value)
    elif kind in layout.fixed_kinds or (kind is tuple and _is_plain_tuple(<tuple> value)):
        text = str(value)
        if PyUnicode_IS_COMPACT_ASCII(text):
            return text
    return layout.make_text(name, value)


cdef bint _is_plain_tuple(tuple values) except -1:
    """Whether nothing but its type decides the text of each of *values*."""
    cdef int overflow = 0
    for value in values:
        if type(value) is int:
            PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return False
        elif type(value) is not str and type(value) is not float and type(value) is not bool and value is not None:
            return False
    return True


cdef str _joined_name(Layout layout, object data, dict overrides):
    """The slow path: any type, any text."""
    cdef list pieces = [layout.head]
    cdef tuple part
    cdef str text
    for part in layout.parts:
        text = _text_of(layout, <str> part[0], _key_value(layout, data, overrides, <str> part[0]), part[2])
        if text is not None:  # the class's own function leaves the key out
            pieces.append(part[1])
            pieces.append(text)
    return "".join(pieces)


cdef str _ascii_name(Layout layout, object data, dict overrides, Py_ssize_t* number_at):
    """The fast path: ASCII text and small integers, put together in one go; None where it does not apply."""
    cdef char[512] buffer
    cdef Py_ssize_t used = _ascii_text(layout, data, overrides, buffer, number_at)
    if used < 0:
        return None
    text = PyUnicode_New(used, 127)
    memcpy(PyUnicode_DATA(text), buffer, used)
    return <str> text


cdef inline Py_ssize_t _put(object text, char* buffer, Py_ssize_t used) noexcept:
    """Write *text* into *buffer* after *used* of its 512 bytes; return how many are used then, -1 where it can't be."""
    cdef Py_ssize_t size
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return -1
    size = PyUnicode_GET_LENGTH(text)
    if used + size > 512:
        return -1
    memcpy(buffer + used, PyUnicode_DATA(text), size)
    return used + size


cdef inline Py_ssize_t _ascii_text(
    Layout layout, object data, dict overrides, char* buffer, Py_ssize_t* number_at
) except -2:
    """Write the name into *buffer*, and return its size; -1 where it is not ASCII text and small integers alone.

    With *number_at*, the auto-increment number is left out, and its place in the text is written there.

    :param buffer: of 512 bytes: a name is at most 255 on every common file system
    """
    cdef Py_ssize_t used
    cdef tuple part
    cdef object value
    cdef dict attributes = None
    cdef PyObject* found
    cdef long long number
    cdef int overflow = 0
    # What is looked up there is borrowed, which is safe as long as no other thread can run.
    if overrides is None and layout.plain_attributes and type(data) is layout.owner and not NLP_FREE_THREADED:
        attributes = <dict> PyObject_GenericGetDict(data, NULL)
    used = _put(layout.head, buffer, 0)
    if used < 0:
        return -1
    for part in layout.parts:
        if part[2] is not None:
            return -1
        used = _put(part[1], buffer, used)
        if used < 0:
            return -1
        if number_at is not NULL and part[0] is layout.autoinc:
            number_at[0] = used
            continue
        found = NULL if attributes is None else PyDict_GetItemWithError(attributes, part[0])
        value = <object> found if found is not NULL else _key_value(layout, data, overrides, <str> part[0])
        if PyUnicode_CheckExact(value):
            used = _put(value, buffer, used)
            if used < 0:
                return -1
        elif PyLong_CheckExact(value):
            number = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow or number < 0 or used + 20 > 512:
                return -1
            used += _digits(number, buffer + used)
        else:
            return -1
    return used


cdef str _format(Layout layout, object data, dict overrides):
    cdef str name = _ascii_name(layout, data, overrides, NULL)
    if name is None:
        name = _joined_name(layout, data, overrides)
    return name


cdef int _refuse_unknown(Layout layout, dict overrides) except -1:
    for name in overrides:
        if name not in layout.names:
            raise UnknownFieldError(layout.owner.__qualname__, name, layout.names)
    return 0


def format_name(Layout layout not None, data, dict overrides):
    """Return the file name, without suffix, for the keys of *data* (or None), replaced by *overrides* (or None).

    The text is not checked: see ``_naming``. An open auto-increment number shows as ``None``, a wildcard as ``*``.

    :raises KeyNotSetError: a key of the name has no value
    :raises UnknownFieldError: *overrides* names no field
    """
    if overrides:
        _refuse_unknown(layout, overrides)
    return _format(layout, data, overrides)


def around_number(Layout layout not None, data not None, str suffix not None):
    """Return what stands before and after the auto-increment number in the file name of *data*, *suffix* included.

    None where the name is not plain (see :func:`is_plain_name`), or could be too long with a number in it.
    """
    cdef Py_ssize_t at = -1
    cdef str name = _ascii_name(layout, data, None, &at)
    if name is None or at < 0 or not is_plain_name(name) or len(name) + len(suffix) > 255 - 20:
        return None
    return name[:at], name[at:] + suffix


def take_number(
    Layout layout not None,
    data not None,
    str suffix not None,
    str prefix not None,
    str head not None,
    long long number,
    str tail not None,
):
    """Set the number of *data*, and return its path: ``prefix + head + str(number) + tail``.

    None, and nothing is set, where that is not its path with *number* and *suffix*, or :func:`around_number` may say
    more. No text is made but the path.
    """
    cdef char[512] name
    cdef Py_ssize_t at = -1, used, before = len(prefix), first = len(head), last = len(tail), end = len(suffix)
    cdef char[20] digits
    cdef char* target
    cdef int count
    if not (PyUnicode_IS_COMPACT_ASCII(prefix) and PyUnicode_IS_COMPACT_ASCII(head)):
        return None
    if not (PyUnicode_IS_COMPACT_ASCII(tail) and PyUnicode_IS_COMPACT_ASCII(suffix)):
        return None
    used = _ascii_text(layout, data, None, name, &at)
    if number < 0 or used < 0 or at != first or used - at + end != last or first + last > 255 - 20:
        return None
    if memcmp(name, PyUnicode_DATA(head), first) != 0:
        return None
    if memcmp(name + at, PyUnicode_DATA(tail), used - at) != 0:
        return None
    if memcmp(<char*> PyUnicode_DATA(tail) + (used - at), PyUnicode_DATA(suffix), end) != 0:
        return None
    count = _digits(number, digits)
    path = PyUnicode_New(before + first + count + last, 127)
    target = <char*> PyUnicode_DATA(path)
    memcpy(target, PyUnicode_DATA(prefix), before)
    memcpy(target + before, name, first)
    memcpy(target + before + first, digits, count)
    memcpy(target + before + first + count, PyUnicode_DATA(tail), last)
    setattr(data, layout.autoinc, number)
    return <str> path


def plain_name(Layout layout not None, data not None, str suffix not None):
    """Return the file name of *data*, *suffix* included; None where more than a quick look is needed."""
    cdef str name = _ascii_name(layout, data, None, NULL)
    if name is None:
        return None
    name = name + suffix
    return name if is_plain_name(name) else None


cpdef bint is_plain_name(str text) except -1:
    """Whether *text* is surely a file name: ASCII, at most 255 characters, none of them ``/`` or NUL.

    False means that more must be looked at, not that the name is bad. On Windows, always False.
    """
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text)
    if PLATFORM_IS_WINDOWS or size > 255 or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    return (
        memchr(PyUnicode_DATA(text), 47, size) is NULL
        and memchr(PyUnicode_DATA(text), 0, size) is NULL
    )


# ---------------------------------------------------------------------------------------------- the public name

def filename(result, /, **overrides):
    """Return the name that *result* is stored under, without the suffix of a handler.

    :param result: a result, or a persistence class when *overrides* gives all keys of the name
    :param overrides: key values that replace those of *result*
    :raises AutoIncFieldNotResolvedError: the auto-increment key has no number yet
    :raises KeyNotSetError: a key of the name has no value
    :raises UnsafeNameError: a value can't be part of a file name
    """
    cdef Layout layout
    cdef object data
    cdef str name
    if isinstance(result, type):
        layout, data = layout_of(result), None
    else:
        layout, data = layout_of(type(result)), result
    if overrides:
        _refuse_unknown(layout, overrides)
    else:
        overrides = None
    try:
        name = _ascii_name(layout, data, <dict> overrides, NULL)
    except KeyNotSetError:
        if is_numbered(layout, data, overrides):
            raise
        raise AutoIncFieldNotResolvedError(result, layout.autoinc) from None
    if name is None or not layout.number_shows:  # else the number was text or an integer
        if not is_numbered(layout, data, overrides):
            raise AutoIncFieldNotResolvedError(result, layout.autoinc)
        if name is None:
            name = _joined_name(layout, data, <dict> overrides)
    if not is_plain_name(name):
        layout.check(name, data, overrides or {})
    return name


cpdef bint is_numbered(Layout layout, object data, dict overrides) except -1:
    """Whether the auto-increment key, if there is one, has a value."""
    cdef PyObject* override
    if layout.autoinc is None:
        return True
    if overrides is not None:
        override = PyDict_GetItemWithError(overrides, layout.autoinc)
        if override is not NULL:
            return override is not <PyObject*> None
    return data is not None and getattr(data, layout.autoinc, None) is not None
