"""What the class decorator adds to a class."""

from __future__ import annotations

import abc
import copy
import gc
import inspect
import linecache
import os
import pickle
import subprocess
import sys
import textwrap
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import pytest
from checks import unused_classes_are_freed

from neuralib import persistence
from neuralib.persistence import (
    AutoIncFieldNotResolvedError,
    FieldDefinitionError,
    MissingFieldError,
    NoInitFitsError,
    NotPersistenceClassError,
    PersistentClass,
    PersistentField,
    as_dict,
    auto_generated_content,
    autoinc_field,
    ensure_persistence_class,
    field,
    filename,
    from_dict,
    missing,
    persistence_class,
    results_equal,
)

if TYPE_CHECKING:
    from nowhere import Unknown

T = TypeVar("T")


@persistence.persistence_class
class Example:
    use_animal: str = persistence.field(validator=True, filename=True)
    use_session: str = persistence.field(validator=True)
    use_date: str = persistence.field(validator=True, filename=True)
    channels: list[int]
    data: np.ndarray

    def _replace(self, **kwargs) -> Example:
        auto_generated_content(**kwargs)


@persistence_class
class Run:
    a: str = field(validator=True, filename=True)
    b: int = autoinc_field()
    c: str

    def _replace(self, **kwargs):
        pass


def test_init_takes_the_keys_and_leaves_data_absent():
    """Data is set later; reading it before raises AttributeError."""
    example = Example(use_animal="A00", use_session="", use_date="1234")
    assert as_dict(example) == {"use_animal": "A00", "use_session": "", "use_date": "1234"}
    assert not hasattr(example, "data")
    example.data, example.extra = 1, 2
    assert list(as_dict(example)) == ["use_animal", "use_session", "use_date", "data"]
    with pytest.raises(TypeError, match="use_date"):
        Example("A", "B")


def test_str_is_the_name_and_repr_shows_the_keys():
    """If a key is not set, both show that, and don't raise."""
    example = Example("A00", "", "1234")
    assert str(example) == filename(example) == "cache-Example-A00-1234"
    assert repr(example) == "Example{use_animal=A00, use_session=, use_date=1234}"
    assert str(Run("x")) == "cache-Run-x-None"
    del example.use_date
    assert str(example) == repr(example) == "Example{use_animal=A00, use_session=, use_date=<not set>}"


def test_str_and_repr_are_short_and_printable_whatever_the_keys_hold():
    """Keys may come from a file of unknown origin: control characters are escaped, and long values are cut."""
    expanding: list[Any] = [1]
    for _ in range(60):
        expanding = [expanding] * 8
    strange = "\x1b[31m\u202e\n\u2028\x07"
    for value in (
        strange,
        strange * 10**6,
        expanding,
        1 << 10**6,
        [strange] * 10**6,
        {strange: 1},
        np.array([strange]),
    ):
        result = Run(value, value)
        for text in (str(result), repr(result)):
            assert text.isprintable()
            assert len(text) < 3000
    assert repr(Run(strange)) == r"Run{a=\x1b[31m\u202e\n\u2028\x07, b=None}"
    assert str(Run("a\u3000b")) == "cache-Run-a\u3000b-None", "a space is none of these"
    assert repr(Run("x" * 1000)) == f"Run{{a={'x' * 1000}, b=None}}"


@pytest.mark.parametrize("name", ["__init__", "__str__", "__repr__", "_replace"])
def test_generated_methods_have_annotations_docstring_module_and_names(name):
    """So that editors, documentation and tracebacks know them."""
    method = vars(Example)[name]
    assert method.__qualname__ == f"Example.{name}"
    assert method.__module__ == __name__
    assert method.__doc__
    assert method.__annotations__["return"] in {None, str, Example}
    source = inspect.getsource(method)
    assert textwrap.dedent(source).startswith(f"def {name}(self")
    linecache.checkcache()
    assert inspect.getsource(method) == source


def test_sources_of_classes_that_are_gone_do_not_pile_up_or_vanish_under_others(monkeypatch, request):
    """A notebook defines a class many times. linecache must not change while another thread iterates over it."""

    def define():
        @persistence_class
        class Again:
            a: int = field(validator=True, filename=True)

        return Again

    def names():
        return {name for name in linecache.cache if "Again" in name}

    if not unused_classes_are_freed():
        pytest.skip("this Python keeps classes for ever: free-threaded 3.13, once a thread was started")
    kept = define()
    source = inspect.getsource(kept.__init__)
    define()
    gc.collect()
    before = names()
    gc.freeze()  # so that each collection below is fast
    request.addfinalizer(gc.unfreeze)
    for _ in range(20):
        define()
        gc.collect()
    assert names() == before
    assert inspect.getsource(kept.__init__) == source
    assert inspect.getsource(define().__init__) == source

    def stat(path, **_):  # at this moment, a collection may free the class
        gc.collect()
        raise FileNotFoundError(path)

    linecache.cache["gone.py"] = (1, 1.0, ["x"], "gone.py")
    for _ in range(3):  # after the first name
        define()
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        linecache.checkcache()
    assert "gone.py" not in linecache.cache


def test_signature_is_as_specified():
    """Keys in order, the number optional; ``_replace`` takes any field by keyword."""
    assert str(inspect.signature(Run)) == "(a: 'str', b: int = None) -> None"
    replace = inspect.signature(Run._replace)
    assert list(replace.parameters) == ["self", "a", "b", "c"]
    assert all(
        parameter.kind is parameter.KEYWORD_ONLY for name, parameter in replace.parameters.items() if name != "self"
    )


def test_traceback_shows_the_generated_line():
    """So that pdb and tracebacks find the source."""

    @persistence_class
    class Strict:
        a: int = field()

        def __setattr__(self, name, value):
            raise ValueError(name)

    with pytest.raises(ValueError, match="a") as caught:
        Strict(1)
    assert any("self.a = a" in str(entry.statement) for entry in caught.traceback)


def test_methods_of_the_class_itself_stay():
    """Only missing methods are generated."""

    @persistence_class
    class Own:
        a: int = field(filename=True)

        def __init__(self, a):
            self.a = a + 1

        def __str__(self):
            return "own str"

        def __repr__(self):
            return "own repr"

        __match_args__ = ("a",)

    assert (Own(1).a, str(Own(1)), repr(Own(1)), Own.__match_args__) == (2, "own str", "own repr", ("a",))
    assert not hasattr(Own, "_replace")


def test_match_args_list_all_fields():
    """Results can be matched by position."""
    run = Run("x", 3)
    run.c = "y"
    match run:
        case Run(a, b, c):
            assert (a, b, c) == ("x", 3, "y")
    assert Example.__match_args__ == ("use_animal", "use_session", "use_date", "channels", "data")


def test_replace_changes_fields_and_keeps_the_rest():
    """Unset fields stay unset, and the original is unchanged."""
    example = Example("A", "s", "d")
    example.channels = [1]
    changed = example._replace(use_date="e")
    assert as_dict(changed) == {"use_animal": "A", "use_session": "s", "use_date": "e", "channels": [1]}
    assert example.use_date == "d"
    with pytest.raises(TypeError):
        example._replace(nothing=1)


def test_a_copy_made_by_replace_has_no_number():
    """Saving it would replace the original otherwise. A number that is passed is kept."""
    run = Run("x", 3)
    assert run._replace(a="y").b is None
    assert run._replace(b=4).b == 4


def test_replace_of_a_subclass_and_of_a_custom_init():
    """The copy has the class of the original, and attributes that ``__init__`` derives are derived anew."""

    class Sub(Run):
        pass

    assert type(Sub("x")._replace(a="y")) is Sub

    @persistence_class
    class Derived:
        a: int = field(filename=True)
        b: int

        def __init__(self, a):
            self.a, self.twice = a, 2 * a

        def _replace(self, **kwargs): ...

    assert Derived(1)._replace(a=4).twice == 8

    @persistence_class
    class Only:
        a: int = field(filename=True)
        b: int

        def __init__(self):
            self.a = 1

        def _replace(self, **kwargs): ...

    assert as_dict(Only()._replace(a=2, b=3)) == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    "name", ["missing", "self", "Odd", "changes", "replaced", "name_of", "default_x", "shown", "keys"]
)
def test_fields_may_be_called_like_anything(name):
    """Like a name in the generated code, or like their class."""
    cls = type("Odd", (), {"__annotations__": {name: int, "x": int}, name: field(filename=True), "x": field(default=5)})
    cls._replace = lambda self: None
    cls = persistence_class(cls)
    result = cls(7)
    assert as_dict(result) == {name: 7, "x": 5}
    assert as_dict(result._replace(**{name: 8})) == {name: 8, "x": 5}
    assert str(result) == "cache-Odd-7"
    assert repr(result) == f"Odd{{{name}=7, x=5}}"


@pytest.mark.parametrize("name", ["'); import os; os.abort() #", 'a"b', "a-b", "{x}", "\\", "ü", ""])
def test_name_is_only_text(name):
    """A class's name is never part of generated source."""

    @persistence_class(name=name)
    class Named:
        a: int = field(filename=True)

        def _replace(self, **kwargs): ...

    result = Named(1)._replace(a=2)
    assert str(result) == f"cache-{name}-2"
    assert repr(result) == f"{name}{{a=2}}"


@pytest.mark.parametrize("options", [{"name": "a/b"}, {"name": "a\0"}, {"filename_field_splitter": "/"}, {"name": 3}])
def test_name_that_no_file_can_have_is_refused(options):
    """When the class is decorated."""
    with pytest.raises(FieldDefinitionError, match=r"can't be part of a file name|must be a str"):
        persistence_class(**options)(type("C", (), {}))


def test_decorator_options():
    """Without a call, with a call, with a name and another splitter."""

    @persistence_class(name="shuf", filename_field_splitter="_")
    class Shuffle:
        region: str = field(filename=True)
        bins: int = field(filename_prefix="bins", filename=True)
        flag: Any = field(filename=lambda value: "yes" if value else None)

    assert str(Shuffle("RSC", 20, True)) == "cache_shuf_RSC_bins20_yes"
    assert str(Shuffle("RSC", 20, False)) == "cache_shuf_RSC_bins20"
    assert str(persistence_class()(type("Empty", (), {}))()) == "cache-Empty"


def test_the_auto_increment_field_has_rules():
    """There is one at most, annotated as int. Each error names class and field."""
    with pytest.raises(FieldDefinitionError, match=r"Two.d: a class can have one auto-increment field, and b is one"):

        @persistence_class
        class Two:
            b: int = autoinc_field()
            d: int = autoinc_field()

    with pytest.raises(FieldDefinitionError, match=r"Text.b: an auto-increment field must be annotated int, not str"):

        @persistence_class
        class Text:
            b: str = autoinc_field()

    with pytest.raises(AutoIncFieldNotResolvedError, match=r"Run.b is an auto-increment field without a number"):
        filename(Run("x"))
    assert filename(Run, a="x", b=3) == "cache-Run-x-3"


def test_a_field_without_annotation_is_refused():
    """It would be lost silently."""
    with pytest.raises(FieldDefinitionError, match=r"Bare.a: has no annotation"):

        @persistence_class
        class Bare:
            a = field()


def test_declarations_in_an_undecorated_base_are_refused():
    """They would be lost silently too."""

    class Mixin:
        a: int = field()

    with pytest.raises(FieldDefinitionError, match="is declared in .*Mixin, which is no persistence class"):
        persistence_class(type("Sub", (Mixin,), {}))


def test_a_decorated_subclass_has_the_fields_of_its_bases():
    """In order; a field that is declared again keeps its place."""

    @persistence_class
    class Base:
        a: int = field(filename=True)
        data: int
        b: int = field(filename=True)

        def _replace(self, **kwargs): ...

    @persistence_class
    class Left(Base):
        c: int = field(filename=True)

    @persistence_class
    class Right(Base):
        a: int = field(filename=True, filename_prefix="a")

    @persistence_class
    class Both(Left, Right):
        d: int

    assert ensure_persistence_class(Both).fields_name() == ["a", "data", "b", "c", "d"]
    result = Both(1, 2, 3)
    result.d, result.data = 4, 5
    assert str(result) == "cache-Both-a1-2-3"
    assert as_dict(result._replace(c=0)) == {"a": 1, "data": 5, "b": 2, "c": 0, "d": 4}
    assert str(Base(1, 2)) == "cache-Base-1-2"
    assert ensure_persistence_class(Both).persistence_cls is Both


def test_annotations_that_cannot_be_resolved_do_no_harm():
    """A reference to the class itself, an import under TYPE_CHECKING."""

    @persistence_class
    class Node:
        a: Unknown = field(filename=True)
        n: int = autoinc_field()
        parent: Node
        other: "Nothing[Here"  # noqa: UP037

    info = ensure_persistence_class(Node)
    assert info.get_field("a").field_type == "Unknown"
    assert info.get_field("n").field_type is int
    assert info.get_field("parent").field_type is Node
    assert Node(1).a == 1


def test_class_variables_are_no_fields():
    """Whether the annotation is a text or not."""

    @persistence_class
    class Constant:
        GROUP: ClassVar[str] = "g"
        a: int = field(filename=True)
        Other: typing.ClassVar = 3

    assert ensure_persistence_class(Constant).fields_name() == ["a"]
    assert as_dict(Constant(1)) == {"a": 1}


def test_a_key_after_the_auto_increment_key_is_given_by_keyword():
    """The number may be left out, so the keys after it have no position. A class may also have no keys at all."""

    @persistence_class
    class Late:
        n: int = autoinc_field()
        a: str = field(filename=True)
        b: str = field(default="x")

    assert str(inspect.signature(Late)) == "(n: int = None, *, a: 'str', b: 'str' = 'x') -> None"
    assert as_dict(Late(a="q")) == {"n": None, "a": "q", "b": "x"}

    @persistence_class
    class Keyless:
        data: int

        def _replace(self, **kwargs): ...

    assert str(Keyless()) == "cache-Keyless"
    assert repr(Keyless()) == "Keyless{}"
    assert Keyless()._replace(data=1).data == 1


def test_defaults_are_not_shared_between_results():
    """Lists, arrays and what a factory makes belong to one result."""

    @persistence_class
    class Default:
        a: list = field(default=[])
        b: dict = field(default_factory=dict)
        c: int = field(default=4)
        x: list = [1]
        y: list = field(init=False, default_factory=list)
        z: Any = np.zeros(2)
        w: int = 3

        def __len__(self):
            return 0

    one, other = Default(), Default()
    for values in (one.a, one.x, one.y):
        values.append("mine")
    one.b["k"] = 1
    one.z[0] = 9
    assert (other.a, other.b, other.c, other.x, other.y, other.w) == ([], {}, 4, [1], [], 3)
    assert other.z[0] == 0
    assert one.x is one.x
    assert list(as_dict(other)) == ["a", "b", "c", "x", "y", "z", "w"]
    assert from_dict(Default, {"c": 1}).a == []
    assert Default.x == [1]
    assert not hasattr(Default, "y")
    assert ensure_persistence_class(Default).get_field("w").optional


def test_wrong_declarations_are_refused():
    """When ``field`` is called."""
    with pytest.raises(TypeError, match="not both"):
        field(default=1, default_factory=int)
    with pytest.raises(TypeError, match="can't show in the file name"):
        field(init=False, filename=True)
    with pytest.raises(TypeError, match="filename must be True, False or a function"):
        field(filename="yes")
    with pytest.raises(FieldDefinitionError, match="needs a __dict__"):
        persistence_class(type("Slotted", (), {"__slots__": ("a",)}))


def test_abstract_generic_and_mixed_in_classes():
    """They work as persistence classes."""

    class Mixin:
        def twice(self):
            return 2 * self.a

    @persistence_class
    class Typed(Mixin, Generic[T], metaclass=abc.ABCMeta):
        a: int = field(filename=True)
        data: T

        @property
        def half(self):
            return self.a / 2

        @abc.abstractmethod
        def work(self): ...

    @persistence_class
    class Real(Typed[int]):
        kind: Literal["x", "y"] = field(filename=True)

        def work(self):
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Typed(1)
    with pytest.raises(TypeError, match="abstract"):
        from_dict(Typed, {"a": 1})
    real = from_dict(Real, {"a": 4, "kind": "x", "data": 1})
    assert (real.twice(), real.half, str(real)) == (8, 2.0, "cache-Real-4-x")
    assert ensure_persistence_class(Typed[int]) is ensure_persistence_class(Typed)


def test_custom_init_with_from_dict():
    """A class may define ``from_dict``, which makes the result from all its values."""

    @persistence_class
    class Custom:
        a: int = field(validator=True, filename=True)
        b: int = field(validator=True, filename=True)
        c: int

        def __init__(self):
            self.made = True

        @classmethod
        def from_dict(cls, data: dict[str, Any]) -> Custom:
            result = cls()
            for name, value in data.items():
                setattr(result, name, value)
            return result

    result = from_dict(Custom, {"a": 1, "b": 2, "c": 3, "z": 4})
    assert (as_dict(result), result.made) == ({"a": 1, "b": 2, "c": 3}, True)
    assert not hasattr(result, "z")
    with pytest.raises(MissingFieldError, match=r"Custom.b"):
        from_dict(Custom, {"a": 1})


def test_an_error_inside_a_fitting_init_is_seen():
    """A TypeError in ``__init__`` must not be taken for a signature that does not fit."""

    @persistence_class
    class Failing:
        a: int = field()

        def __init__(self, a):
            raise TypeError("from inside")

        @classmethod
        def from_dict(cls, data):
            raise AssertionError("must not be asked")

    with pytest.raises(TypeError, match="from inside"):
        from_dict(Failing, {"a": 1})


def test_custom_init_without_from_dict_is_an_error():
    """The error says what to write."""

    @persistence_class
    class Lonely:
        a: int = field()

        def __init__(self): ...

    with pytest.raises(NoInitFitsError, match=r"Lonely.__init__ does not accept the keys \(a\): define a classmethod"):
        from_dict(Lonely, {"a": 1})

    @persistence_class
    class Wrong(Lonely):
        from_dict = classmethod(lambda cls, data: 3)

    with pytest.raises(TypeError, match="must return a result of it"):
        from_dict(Wrong, {"a": 1})


def test_from_dict_names_what_is_missing():
    """A key without a default is required; data and the number are not."""
    with pytest.raises(MissingFieldError, match=r"missing required field Run.a .*field\(default"):
        from_dict(Run, {"b": 1})
    with pytest.raises(KeyError):
        from_dict(Run, {})
    assert as_dict(from_dict(Run, {"a": "x", "unknown": 1})) == {"a": "x", "b": None}


def test_only_persistence_classes_are_accepted():
    """By every function that needs one."""
    for call in (ensure_persistence_class, as_dict, filename):
        with pytest.raises(NotPersistenceClassError, match=r"int is not a persistence class: give a class decorated"):
            call(3)
    for call in (as_dict, lambda value: from_dict(int, value)):
        with pytest.raises(RuntimeError):
            call({})
    with pytest.raises(TypeError, match="Run is a class: give a result"):
        as_dict(Run)
    with pytest.raises(FieldDefinitionError, match="decorates a class"):
        persistence_class(3)
    with pytest.raises(RuntimeError, match="not been decorated"):
        auto_generated_content(a=1)


def test_results_equal_sees_arrays_and_absence():
    """Unlike ``==``, which stays that of the class."""

    def run(c=missing):
        result = Run("x", 1)
        if c is not missing:
            result.c = c
        return result

    assert results_equal(run(np.array([1, np.nan])), run(np.array([1, np.nan])))
    assert results_equal(run({"k": [np.arange(3), None]}), run({"k": [np.arange(3), None]}))
    assert not results_equal(run(np.arange(3)), run(np.arange(4)))
    assert not results_equal(run(np.arange(3)), run([0, 1, 2]))
    assert not results_equal(run(), run(None))
    assert results_equal(run(), run())
    assert not results_equal(run(), Example("a", "b", "c"))
    with pytest.raises(NotPersistenceClassError):
        results_equal(run(), 3)
    assert run() != run()


def test_results_can_be_pickled_and_copied_themselves():
    """Between processes, for example."""
    run = Run("x", 3)
    run.c = np.arange(3)
    for twin in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert results_equal(run, twin)


def test_the_description_of_a_class_is_public():
    """PersistentClass and PersistentField are documented."""
    info = ensure_persistence_class(Run("x"))
    assert isinstance(info, PersistentClass)
    assert Run._ast_persistence_cls_info_ is info
    assert (info.cls_name, info.filename_field_splitter, info.persistence_cls) == ("Run", "-", Run)
    assert [declared.field_name for declared in info.fields] == ["a", "b", "c"]
    assert all(isinstance(declared, PersistentField) for declared in info.fields)
    assert info.autoinc_field().field_name == "b"
    assert info.get_field("nothing") is None
    assert not info.is_autoinc_field_resolved(Run("x"))
    assert info.is_autoinc_field_resolved(None, b=1)
    assert missing is inspect.Parameter.empty


def test_star_import_gives_the_submodule_and_the_validators():
    """Existing code imports them so."""
    code = (
        "from neuralib.persistence import *\n"
        "assert persistence.persistence_class and ETLConcatable and validator.create_date_validate\n"
        "import neuralib\nassert not hasattr(neuralib, '__file__') or neuralib.__file__ is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_code_without_future_annotations_works_too(tmp_path, monkeypatch):
    """Then annotations are objects."""
    (tmp_path / "plain_module.py").write_text(
        "from typing import ClassVar\nfrom neuralib.persistence import *\n"
        "@persistence_class\nclass P:\n    K: ClassVar[int] = 1\n    a: int = field(filename=True)\n    n: int = autoinc_field()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import plain_module

    assert str(inspect.signature(plain_module.P)) == "(a: int, n: int = None) -> None"
