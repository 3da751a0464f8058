# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False, embedsignature.format=clinic
"""The loops that run once for each field of each result: results to dicts and back, and file names.

They take and return plain values, decide nothing and touch no file. ``tests/reference.py`` has each of these functions
in plain Python, to read, and to compare with.
"""

cimport cython

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

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
    PyObject* PyTuple_GET_ITEM(object t, Py_ssize_t i) noexcept
    object PyObject_GenericGetDict(object obj, void* unused)
    int PyObject_GenericSetAttr(object obj, object name, object value) except -1
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
        void* tp_setattro
        void* tp_getattro
        Py_ssize_t tp_dictoffset
    object PyObject_GenericGetAttr(object obj, object name)

cdef extern from "string.h":
    void* memcpy(void* target, const void* source, size_t size) noexcept nogil
    void* memchr(const void* where, int byte, size_t size) noexcept nogil
    int memcmp(const void* a, const void* b, size_t size) noexcept nogil

cdef extern from "_platform.h":
    int PLATFORM_IS_WINDOWS

cdef extern from *:
    """
    /* Two looks into a class that do not call its metaclass. nlp_type_attribute returns a new reference from the
     * class's own cache, or NULL. nlp_type_version returns a number that no other class has, and that the class loses
     * as soon as it or one of its bases changes; 0 where it has none. Where NLP_SEES_TYPES is 0, neither is available.
     */
    #if PY_VERSION_HEX < 0x030D0000
        #define NLP_SEES_TYPES 1
        static PyObject *nlp_type_attribute(PyObject *cls, PyObject *name)
        {
            PyObject *found = _PyType_Lookup((PyTypeObject *)cls, name);
            Py_XINCREF(found);
            return found;
        }
    #elif PY_VERSION_HEX < 0x03100000
        #define NLP_SEES_TYPES 1
        #define nlp_type_attribute(cls, name) _PyType_LookupRef((PyTypeObject *)(cls), (name))
    #else
        #define NLP_SEES_TYPES 0
        #define nlp_type_attribute(cls, name) ((void)(cls), (void)(name), (PyObject *)NULL)
    #endif
    /* Numbers that several threads read and write, and an order of that; without free threads the GIL sees to both. */
    #ifdef Py_GIL_DISABLED
        #define nlp_version(tag) _Py_atomic_load_uint_relaxed(&(tag))
        #define nlp_get(memo) _Py_atomic_load_uint64_relaxed(&(memo))
        #define nlp_set(memo, value) _Py_atomic_store_uint64_relaxed(&(memo), (value))
        #define nlp_fence() _Py_atomic_fence_seq_cst()
    #else
        #define nlp_version(tag) (tag)
        #define nlp_get(memo) (memo)
        #define nlp_set(memo, value) ((memo) = (value))
        #define nlp_fence() ((void)0)
    #endif
    #if NLP_SEES_TYPES
        #define nlp_type_version(cls) nlp_version(((PyTypeObject *)(cls))->tp_version_tag)
    #else
        #define nlp_type_version(cls) ((void)(cls), 0U)
    #endif
    #define nlp_is_data_descriptor(value) (Py_TYPE(value)->tp_descr_set != NULL)
    """
    bint NLP_SEES_TYPES
    PyObject* nlp_type_attribute(object cls, object name) noexcept
    unsigned int nlp_type_version(object cls) noexcept
    uint64_t nlp_get(uint64_t memo) noexcept
    void nlp_set(uint64_t memo, uint64_t value) noexcept
    void nlp_fence() noexcept
    bint nlp_is_data_descriptor(PyObject* value) noexcept
    void Py_XDECREF(PyObject* value) noexcept

cdef object ABSENT = object()
cdef tuple NO_ARGUMENTS = ()
cdef object PLAIN_LOOKUP = object.__getattribute__


@cython.final
@cython.binding(False)  # else its methods take any object for self
@cython.embedsignature(True)
cdef class Layout:
    """What the loops need to know of one persistence class.

    It is filled once. What changes later are two memos, each one number that is written and read in one piece.
    """

    cdef readonly object owner
    cdef readonly tuple names
    cdef readonly frozenset required
    cdef readonly dict fallbacks
    cdef readonly str head
    cdef readonly tuple parts
    cdef readonly str autoinc
    cdef readonly bint number_shows
    cdef readonly object wildcard
    cdef readonly object any_text
    cdef readonly object check
    cdef uint64_t seen  # the version of the class that was looked at last, and behind it what _look found
    cdef uint64_t read_version  # the version of the class that last was one that READS_OWN_DICT
    cdef readonly object make_text
    cdef readonly set fixed_kinds
    cdef readonly dict former_names
    cdef readonly object make_by_init

    def __cinit__(
        self,
        object owner not None,
        tuple names not None,
        frozenset required not None,
        dict fallbacks not None,
        str head not None,
        tuple parts not None,
        str autoinc,
        object wildcard,
        object any_text not None,
        object check,
        object make_text not None,
        set fixed_kinds not None,
        dict former_names not None,
        object make_by_init not None,
    ):
        # The loops don't look at types again.
        for part in parts:
            if type(part) is not tuple or [type(each) for each in part[:-1]] != [str, str]:
                raise TypeError(f"a part of a name is a tuple (key, text before it, function or None), not {part!r}")
        for name in names:
            if type(name) is not str:
                raise TypeError(f"the name of a field is a str, not {name!r}")
        self.owner = owner
        self.names = names
        self.required = required
        self.fallbacks = fallbacks
        self.head = head
        self.parts = parts
        self.autoinc = autoinc
        self.number_shows = autoinc in [part[0] for part in parts]
        self.wildcard = wildcard
        self.any_text = any_text
        self.check = check
        self.make_text = make_text
        self.fixed_kinds = fixed_kinds
        self.former_names = former_names
        self.make_by_init = make_by_init
        self.seen = <uint64_t> 1 << 63  # of no class

    def __reduce__(self):
        # Engines of clusters send a class along that is defined in a notebook, and its layout with it.
        return _sent_layout, (
            self.owner,
            self.names,
            self.required,
            self.fallbacks,
            self.head,
            self.parts,
            self.autoinc,
            self.wildcard,
            self.any_text,
            self.check,
            self.make_text,
            self.fixed_kinds,
            self.former_names,
            self.make_by_init,
        )


def _sent_layout(owner, *rest):
    """Return the layout of *owner*, a class that came from another process; the first where it comes again."""
    found = owner.__dict__.get("_persistence_layout_")
    return found if isinstance(found, Layout) else Layout(owner, *rest)


cdef extern from *:
    """
    #define nlp_owned_layout(value) ((void *)(value))
    """
    Layout nlp_owned_layout(PyObject* value)  # takes over the reference


cdef Layout layout_of(object cls):
    cdef PyObject* quick = nlp_type_attribute(cls, "_persistence_layout_") if isinstance(cls, type) else NULL
    if quick is not NULL:
        if type(<object> quick) is Layout:
            return nlp_owned_layout(quick)
        Py_XDECREF(quick)
    found = getattr(cls, "_persistence_layout_", None)
    if not isinstance(found, Layout):
        raise NotPersistenceClassError(getattr(cls, "__qualname__", repr(cls)))
    return <Layout> found


# ---------------------------------------------------------------------------------------------- values

cdef bint _no_data_descriptors(Layout layout, object cls):
    """Return whether the class *cls* has a property, or the like, under none of the fields' names."""
    cdef PyObject* found
    cdef bint is_data_descriptor
    for name in layout.names:
        found = nlp_type_attribute(cls, name)
        is_data_descriptor = found is not NULL and nlp_is_data_descriptor(found)
        Py_XDECREF(found)
        if is_data_descriptor:
            return False
    return True


cdef inline PyObject* _address(object cls, object name):
    """Return the address of the attribute *name* of the class *cls*, to compare with; NULL where it has none."""
    cdef PyObject* found = nlp_type_attribute(cls, name)
    Py_XDECREF(found)
    return found


# What a look at a class tells of its instances.
cdef enum:
    READS_OWN_DICT = 1  # a field is what the instance's __dict__ has under that name, if it has one
    CREATES_PLAINLY = 2  # object makes the instance and sets its fields
    HAS_GENERATED_INIT = 4  # so that an instance needs no call of it
    LOOK_BITS = 3


cdef inline int _look(Layout layout, object cls) except -1:
    """Return what is known of *cls*, which is a type."""
    cdef uint64_t known = nlp_get(layout.seen) ^ <uint64_t> nlp_type_version(cls) << LOOK_BITS
    if known < 1 << LOOK_BITS:  # the version is the same
        return <int> known
    return _look_anew(layout, cls)


cdef int _look_anew(Layout layout, object cls) except -1:
    """Return what is known of *cls*, type or not, and remember it for this version of the type."""
    cdef unsigned int version = 0
    cdef int found = 0
    if NLP_SEES_TYPES and isinstance(cls, type):
        _address(cls, "__init__")  # the first look gives the class a version
        version = nlp_type_version(cls)
        nlp_fence()
        if _no_data_descriptors(layout, cls):
            if (
                _address(cls, "__getattribute__") is <PyObject*> PLAIN_LOOKUP
                and (<PyTypeObject*> cls).tp_dictoffset != 0
            ):
                found |= READS_OWN_DICT
            if (
                (<PyTypeObject*> cls).tp_new is (<PyTypeObject*> object).tp_new
                and (<PyTypeObject*> cls).tp_setattro is <void*> PyObject_GenericSetAttr
            ):
                found |= CREATES_PLAINLY
    if hasattr(getattr(cls, "__init__", None), "_persistence_generated_"):
        found |= HAS_GENERATED_INIT
    nlp_fence()
    if version != 0 and nlp_type_version(cls) == version:  # versions don't come again
        nlp_set(layout.seen, <uint64_t> version << LOOK_BITS | found)
        if found & READS_OWN_DICT:
            nlp_set(layout.read_version, version)
    return found


cdef inline bint _reads_own_dict(Layout layout, object cls) except -1:
    """Return whether *cls*, a type, is one that ``READS_OWN_DICT``."""
    cdef unsigned int version = nlp_type_version(cls)
    if version != 0 and version == nlp_get(layout.read_version):
        return True
    return _finds_own_dict(layout, cls)


cdef bint _finds_own_dict(Layout layout, object cls) except -1:
    """Return the same by a look, which is rare: inlined, it would cost the callers registers."""
    return NLP_SEES_TYPES and _look(layout, cls) & READS_OWN_DICT != 0


cdef inline bint _class_may_supply(object data, str name):
    """Return whether *data* may have the attribute *name* though its ``__dict__`` lacks it.

    Asked only where the class is one that ``READS_OWN_DICT``.
    """
    cdef object cls = type(data)
    if not NLP_SEES_TYPES or (<PyTypeObject*> cls).tp_getattro is not <void*> PyObject_GenericGetAttr:
        return True  # by __getattr__
    return _address(cls, name) is not NULL


# At most so many entries of an instance's dict are moved or removed; with more, each field is looked up.
cdef enum:
    MOST_DISPLACED = 16


cdef inline bint _is_one_of(PyObject* key, tuple names, Py_ssize_t first) noexcept:
    """Return whether *key* is one of the objects in *names*, from *first* on."""
    cdef Py_ssize_t i
    for i in range(first, len(names)):
        if key == PyTuple_GET_ITEM(names, i):
            return True
    return False


cdef dict _fields_of_dict(Layout layout, object data, dict values):
    """Return the fields of *data*, whose ``__dict__`` is *values*, in order. Return None to ask for the slow path.

    Copying a dict, and moving or removing a few of its entries, takes less time than making a new one. Keys are
    compared as objects first: attribute names are interned.
    """
    cdef dict found = PyDict_Copy(values)  # nobody else's, so that looking at it is safe without the GIL too
    cdef tuple names = layout.names
    cdef Py_ssize_t n = len(names), i = 0, fields = 0, pos = 0, at = 0
    cdef PyObject* displaced[MOST_DISPLACED]
    cdef int n_displaced = 0, n_before = 0, k
    cdef PyObject* key = NULL
    cdef PyObject* value = NULL
    cdef str name
    while True:  # until i is the first field that is set, but not in its place
        while i < n and PyDict_Next(found, &at, &key, NULL):
            if key == PyTuple_GET_ITEM(names, i):
                i += 1
                fields += 1
                pos = at
                n_before = n_displaced
            elif n_displaced < MOST_DISPLACED:
                displaced[n_displaced] = key
                n_displaced += 1
            else:
                return None
        if i == n:
            break
        value = PyDict_GetItemWithError(found, <str> names[i])
        if value is not NULL or _class_may_supply(data, <str> names[i]):
            break
        i += 1  # it is not computed yet: go on behind the last field that was found
        at = pos
        n_displaced = n_before
    if len(found) == fields and i == n:
        return found
    while PyDict_Next(found, &at, &key, NULL):
        if n_displaced == MOST_DISPLACED:
            return None
        displaced[n_displaced] = key
        n_displaced += 1
    for k in range(n_displaced):
        key = displaced[k]
        if _is_one_of(key, names, i):
            continue
        if not PyUnicode_CheckExact(<object> key):  # it may be compared in ways of its own
            return None
        if i == n or <object> key not in names[i:]:
            del found[<object> key]  # it is no field
    while i < n:
        name = <str> names[i]
        if value is not NULL:
            moved = <object> value
            del found[name]
            found[name] = moved  # as the last one
        elif _class_may_supply(data, name):
            default = getattr(data, name, ABSENT)
            if default is not ABSENT:
                found[name] = default
        i += 1
        if i < n:
            value = PyDict_GetItemWithError(found, <str> names[i])
    return found


def as_dict(data):
    """Return the fields of the result *data* that are set, as a new dict in the order of their declaration.

    :param data: a result: an instance of a persistence class
    :raises NotPersistenceClassError: *data* is no instance of a persistence class
    """
    if isinstance(data, type):
        raise NotPersistenceClassError(data.__qualname__, "is a class: give a result, which is an instance of it")
    cdef object cls = type(data)
    cdef Layout layout = layout_of(cls)
    cdef dict found
    cdef str name
    if _reads_own_dict(layout, cls):
        found = _fields_of_dict(layout, data, <dict> PyObject_GenericGetDict(data, NULL))
        if found is not None:
            return found
    found = {}
    for name in layout.names:
        value = getattr(data, name, ABSENT)
        if value is not ABSENT:  # a data field may not be computed yet
            found[name] = value
    return found


cdef inline bint _is_text(PyObject* key, str name) noexcept:
    """Return whether *key* is surely the text *name*: names read from a file are other objects than the class's."""
    return key is <PyObject*> name or (
        PyUnicode_CheckExact(<object> key)
        and PyUnicode_IS_COMPACT_ASCII(<object> key)
        and PyUnicode_IS_COMPACT_ASCII(name)
        and PyUnicode_GET_LENGTH(<object> key) == PyUnicode_GET_LENGTH(name)
        and memcmp(PyUnicode_DATA(<object> key), PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)) == 0
    )


def from_dict(data_cls, d):
    """Return a result of *data_cls* with the values of *d*.

    Keys need a value in *d* or a default; data fields that *d* lacks stay absent; what *d* has beyond the fields is
    ignored. Where the class has an ``__init__`` of its own that does not take the keys, its classmethod ``from_dict``
    makes the result.

    :raises MissingFieldError: a key without default is not in *d* (a :class:`KeyError`)
    :raises NoInitFitsError: the class's own ``__init__`` does not take the keys, and it has no ``from_dict``
    """
    cdef dict values = <dict> d if type(d) is dict else dict(d)
    cdef Layout layout = layout_of(data_cls)
    cdef bint is_type = isinstance(data_cls, type)
    cdef int found = _look(layout, data_cls) if is_type else _look_anew(layout, data_cls)
    if not found & HAS_GENERATED_INIT:
        return layout.make_by_init(data_cls, values)
    cdef bint plain = found & CREATES_PLAINLY
    if plain or (is_type and (<PyTypeObject*> data_cls).tp_new is (<PyTypeObject*> object).tp_new):
        result = (<PyTypeObject*> data_cls).tp_new(<PyTypeObject*> data_cls, <PyObject*> NO_ARGUMENTS, NULL)
    else:
        result = data_cls.__new__(data_cls)
    # Another thread may change the caller's dict. The lock of the result is not taken as well: some versions of Python
    # would then try to take that lock 40 times for each attribute that is set, before they see that this thread has it.
    with cython.critical_section(values):
        _set_fields(layout, data_cls, result, values, plain)
    return result


cdef inline int _set_fields(Layout layout, object cls, object result, dict values, bint plain) except -1:
    """Set the fields of *result* to *values*, or to their defaults; *plain*: as ``object`` sets them."""
    cdef PyObject* name  # borrowed from the layout, which never changes
    cdef object given
    cdef PyObject* key = NULL
    cdef PyObject* value = NULL
    cdef Py_ssize_t pos = 0, before, i
    cdef tuple names = layout.names
    for i in range(len(names)):
        name = PyTuple_GET_ITEM(names, i)
        # Most dicts have the fields in order: look at the next one before searching.
        before = pos
        if not (plain and PyDict_Next(values, &pos, &key, &value) and _is_text(key, <str> name)):
            pos = before
            value = PyDict_GetItemWithError(values, <object> name)
        if value is not NULL:
            given = <object> value  # setting may run code that takes it out of the dict
            if plain:
                PyObject_GenericSetAttr(result, <object> name, given)
            else:
                PyObject_SetAttr(result, <object> name, given)
        elif <object> name in layout.fallbacks:
            PyObject_SetAttr(result, <object> name, layout.fallbacks[<object> name]())
        elif <object> name in layout.required:
            raise MissingFieldError(cls.__qualname__, <object> name)
    return 0


# ---------------------------------------------------------------------------------------------- names

# The longest file name that common file systems take; and the most digits of a long long, with one to spare.
cdef enum:
    MOST_BYTES = 255
    MOST_DIGITS = 20


@cython.cdivision(True)  # the number is never negative, so C's division is Python's
cdef inline int _digits(long long number, char* target) noexcept nogil:
    """Write *number* (>= 0) in decimal at *target* (``MOST_DIGITS`` bytes at most); return how many digits."""
    cdef char[MOST_DIGITS] reversed_digits
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


# A name is written into memory of this size at first: one is at most 255 bytes on every common file system.
cdef enum:
    NAME_ROOM = 512


cdef bint _is_plain_tuple(tuple values) except -1:
    """Whether nothing but its type decides the text of each of *values*, and that of all can be in a file name."""
    cdef int overflow = 0
    if len(values) > NAME_ROOM:
        return False
    for value in values:
        if type(value) is int:
            PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return False
        elif type(value) is str:
            if PyUnicode_GET_LENGTH(<str> value) > NAME_ROOM:  # a file may hold one text in it many times
                return False
        elif type(value) is not float and type(value) is not bool and value is not None:
            return False
    return True


cdef struct NameBuffer:
    char[NAME_ROOM] text
    Py_ssize_t used  # of the text; -1 where it is not written here
    Py_ssize_t number_at  # where the auto-increment number belongs, if it was left out; else -1
    bint number_open  # whether the auto-increment number is None


cdef inline Py_ssize_t _put(object text, NameBuffer* name, Py_ssize_t used) noexcept:
    """Write *text* into *name* after *used* bytes; return how many are used then, or -1 where it can't be written."""
    cdef Py_ssize_t size
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return -1
    size = PyUnicode_GET_LENGTH(text)
    if used + size > NAME_ROOM:
        return -1
    memcpy(name.text + used, PyUnicode_DATA(text), size)
    return used + size


cdef inline Py_ssize_t _put_number(object value, NameBuffer* name, Py_ssize_t used) except -2:
    """Write the integer *value* as :func:`_put` writes a text; -1 where it is negative or large."""
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0 or used + MOST_DIGITS > NAME_ROOM:
        return -1
    return used + _digits(number, name.text + used)


cdef inline bint _is_brief(object value) except -1:
    """Return whether *value* is a number of at most 64 bits, True, False or None, which each has a short text."""
    cdef int overflow = 0
    if type(value) is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        return not overflow
    return type(value) is float or type(value) is bool or value is None


cdef str _text_in(NameBuffer* name, Py_ssize_t begin, Py_ssize_t end):
    text = PyUnicode_New(end - begin, 127)
    memcpy(PyUnicode_DATA(text), name.text + begin, end - begin)
    return <str> text


# What _write_name is asked for.
cdef enum:
    ANY_NAME  # whatever the values are
    ASCII_NAME  # only a name of ASCII text, without placeholders and with a number
    AROUND_NUMBER  # the same, the number left out
    BRIEF_NAME  # the same as ASCII_NAME, of keys that are texts, numbers, True, False or None, and no function's


cdef inline list _write_name(Layout layout, object data, dict overrides, int wanted, NameBuffer* name):
    """Write the file name into *name*.

    :return: None. But where *wanted* is ``ANY_NAME`` and the name is long or not ASCII, a list of its texts; what is in
        *name* does not count then
    :raises KeyNotSetError: a key of the name has no value
    """
    cdef dict attributes = None
    if overrides is None and data is not None and _reads_own_dict(layout, type(data)):
        attributes = <dict> PyObject_GenericGetDict(data, NULL)
    # No other thread changes the dict while values are taken out of it.
    with cython.critical_section(layout if attributes is None else attributes):
        return _write_keys(layout, data, overrides, attributes, wanted, name)


@cython.boundscheck(False)  # Layout makes sure that each part has three items
@cython.wraparound(False)
@cython.nonecheck(False)
cdef inline list _write_keys(Layout layout, object data, dict overrides, dict attributes, int wanted, NameBuffer* name):
    """Write the same, by *attributes*, the ``__dict__`` of *data*, where that is not None."""
    cdef Py_ssize_t used, more, i
    cdef tuple parts = layout.parts
    cdef PyObject* part  # this and its items are borrowed from the layout, which never changes
    cdef PyObject* key
    cdef PyObject* lead
    cdef PyObject* as_text
    cdef object value, other
    cdef str text
    cdef list texts = None
    cdef PyObject* found
    # Most instances have the keys in order: look at the next attributes, and search only after so many of no use.
    cdef Py_ssize_t at = 0, skips = 8
    cdef PyObject* next_key = NULL
    name.number_at = -1
    name.number_open = False
    used = name.used = _put(layout.head, name, 0)
    if used < 0:
        if wanted != ANY_NAME:
            return None
        texts = [layout.head]
    for i in range(len(parts)):
        part = PyTuple_GET_ITEM(parts, i)
        key, lead = PyTuple_GET_ITEM(<object> part, 0), PyTuple_GET_ITEM(<object> part, 1)
        as_text = PyTuple_GET_ITEM(<object> part, 2)
        if wanted == AROUND_NUMBER and key is <PyObject*> layout.autoinc:
            used = _put(<object> lead, name, used) if as_text is <PyObject*> None else -1
            if used < 0:
                name.used = -1
                return None
            name.number_at = used
            continue
        found = NULL
        if attributes is not None:
            while skips > 0 and PyDict_Next(attributes, &at, &next_key, &found) and next_key is not key:
                found = NULL
                skips -= 1
            if found is NULL:
                skips = 0
                found = PyDict_GetItemWithError(attributes, <object> key)
        if found is NULL:
            other = _key_value(layout, data, overrides, <str> key)
            found = <PyObject*> other
        if as_text is <PyObject*> None and texts is None:
            # It is borrowed, which is safe as long as no other thread can change the dict, and nothing of Python runs.
            more = -1
            if PyUnicode_CheckExact(<object> found):
                more = _put(<object> lead, name, used)
                more = _put(<object> found, name, more) if more >= 0 else -1
            elif PyLong_CheckExact(<object> found):
                more = _put(<object> lead, name, used)
                more = _put_number(<object> found, name, more) if more >= 0 else -1
            if more >= 0:
                used = more
                continue
        value = <object> found
        if wanted == BRIEF_NAME and (as_text is not <PyObject*> None or not _is_brief(value)):
            name.used = -1
            return None
        if value is None and key is <PyObject*> layout.autoinc:
            name.number_open = True
        if wanted != ANY_NAME and (name.number_open or value is layout.wildcard or type(value) is layout.any_text):
            name.used = -1
            return None
        text = _text_of(layout, <str> key, value, <object> as_text)
        if text is None:  # the class's own function leaves the key out
            continue
        if texts is None:
            more = _put(<object> lead, name, used)
            more = _put(text, name, more) if more >= 0 else -1
            if more >= 0:
                used = more
                continue
            if wanted != ANY_NAME:
                name.used = -1
                return None
            texts = [_text_in(name, 0, used)]
        texts.append(<object> lead)
        texts.append(text)
    name.used = used
    return texts


cdef str _ascii_name(Layout layout, object data):
    """Return the file name of *data*; None where it is long or not ASCII, has a placeholder, or an open number."""
    cdef NameBuffer name
    _write_name(layout, data, None, ASCII_NAME, &name)
    return None if name.used < 0 else _text_in(&name, 0, name.used)


cdef int _refuse_unknown(Layout layout, dict overrides) except -1:
    for name in overrides:
        if name not in layout.names:
            raise UnknownFieldError(layout.owner.__qualname__, name, layout.names, layout.former_names.get(name))
    return 0


def format_name(Layout layout not None, data, dict overrides):
    """Return the file name, without suffix, for the keys of *data* (or None), replaced by *overrides* (or None).

    The text is not checked: see ``_naming``. An open auto-increment number shows as ``None``, a wildcard as ``*``.

    :raises KeyNotSetError: a key of the name has no value
    :raises UnknownFieldError: *overrides* names no field
    """
    cdef NameBuffer name
    if overrides:
        _refuse_unknown(layout, overrides)
    cdef list texts = _write_name(layout, data, overrides or None, ANY_NAME, &name)
    return _text_in(&name, 0, name.used) if texts is None else "".join(texts)


def around_number(Layout layout not None, data not None, str suffix not None):
    """Return what stands before and after the auto-increment number in the file name of *data*, *suffix* included.

    None where the name is not plain (see :func:`is_plain_name`), or could be too long with a number in it.
    """
    cdef NameBuffer name
    _write_name(layout, data, None, AROUND_NUMBER, &name)
    if name.used < 0 or name.number_at < 0 or name.used + len(suffix) > MOST_BYTES - MOST_DIGITS:
        return None
    if not _is_plain_ascii(name.text, name.used):
        return None
    tail = suffix if name.number_at == name.used else _text_in(&name, name.number_at, name.used) + suffix
    return _text_in(&name, 0, name.number_at), tail


def plain_name(Layout layout not None, data not None, str suffix not None):
    """Return the file name of *data*, *suffix* included. Return None to ask for the slow path.

    That is where the name is not surely a file name (see :func:`is_plain_name`), the auto-increment number is open,
    or a key is a wildcard.
    """
    cdef str name = _ascii_name(layout, data)
    if name is None:
        return None
    name = name + suffix
    return name if _is_plain(name) else None


def is_plainly_named(Layout layout not None, str suffix not None, data not None, str name not None):
    """Return whether *name* is the name that :func:`plain_name` gives *data*. False asks for the slow path.

    That is also where a key is something else than a text, a number of at most 64 bits, True, False or None.
    """
    cdef NameBuffer own
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(suffix)
    if not _is_plain(name) or not PyUnicode_IS_COMPACT_ASCII(suffix):
        return False
    _write_name(layout, data, None, BRIEF_NAME, &own)
    return (
        own.used >= 0
        and own.used + size == PyUnicode_GET_LENGTH(name)
        and memcmp(PyUnicode_DATA(name), own.text, own.used) == 0
        and memcmp(<char*> PyUnicode_DATA(name) + own.used, PyUnicode_DATA(suffix), size) == 0
    )


def is_plain_name(text):
    """Return whether *text* is surely a file name: 1 to 255 ASCII characters, no ``/`` or NUL, not ``.`` or ``..``.

    False does not mean that the name is bad, but that only a closer look can tell: also where the class of *text* is
    derived from ``str``. On Windows it is always False.
    """
    if not isinstance(text, str):
        raise TypeError(f"a name is a str, not {text!r}")
    return _is_plain(text)


cdef inline bint _is_plain(object text) noexcept:
    return PyUnicode_IS_COMPACT_ASCII(text) and _is_plain_ascii(
        <const char*> PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text)
    )


cdef inline bint _is_plain_ascii(const char* text, Py_ssize_t size) noexcept nogil:
    if PLATFORM_IS_WINDOWS or size > MOST_BYTES:
        return False
    if size <= 2 and memcmp(text, b"..", size) == 0:  # no name, this folder or the one above
        return False
    return memchr(text, 47, size) is NULL and memchr(text, 0, size) is NULL


# ---------------------------------------------------------------------------------------------- the public name

def filename(result, /, **overrides):
    """Return the name that *result* is stored under, without the suffix of a handler.

    :param result: a result, or a persistence class where *overrides* gives all keys of the name
    :param overrides: key values that replace those of *result*
    :raises AutoIncFieldNotResolvedError: the auto-increment key has no number yet
    :raises KeyNotSetError: a key of the name has no value
    :raises UnsafeNameError: a value can't be part of a file name
    """
    cdef Layout layout
    cdef object data
    cdef NameBuffer buffer
    cdef list texts
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
        texts = _write_name(layout, data, <dict> overrides, ANY_NAME, &buffer)
    except Exception:
        if _is_numbered(layout, data, overrides):
            raise
        raise AutoIncFieldNotResolvedError(result, layout.autoinc) from None
    if buffer.number_open or not (layout.number_shows or _is_numbered(layout, data, overrides)):
        raise AutoIncFieldNotResolvedError(result, layout.autoinc)
    name = _text_in(&buffer, 0, buffer.used) if texts is None else "".join(texts)
    if not _is_plain(name):
        layout.check(name, data, overrides or {})
    return name


def is_numbered(Layout layout not None, data, dict overrides):
    """Return whether the auto-increment key has a value, or there is none.

    :param data: a result, or None
    :param overrides: values of fields that replace those of *data*, or None
    """
    return _is_numbered(layout, data, overrides)


cdef bint _is_numbered(Layout layout, object data, dict overrides) except -1:
    cdef PyObject* override
    if layout.autoinc is None:
        return True
    if overrides is not None:
        override = PyDict_GetItemWithError(overrides, layout.autoinc)
        if override is not NULL:
            return override is not <PyObject*> None
    return data is not None and getattr(data, layout.autoinc, None) is not None
