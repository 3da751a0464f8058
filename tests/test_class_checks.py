"""Mistakes that are reported when a class is made or before a result is saved; descriptions, versions and former names."""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import logging
import pickle
import sys
import threading
import types
import typing
import typing as tp
from collections import Counter
from typing import Annotated, ClassVar, ClassVar as Shared, Protocol, TypedDict

import numpy as np
import pytest

from neuralib.persistence import (
    FieldDefinitionError,
    PersistentClass,
    PersistentField,
    PickleHandler,
    as_dict,
    autoinc_field,
    ensure_persistence_class,
    field,
    filename,
    from_dict,
    load_by,
    missing,
    persistence_class,
)
from neuralib.persistence._classes import hints
from neuralib.persistence._classes.losses import check_before_saving, close_name, refuse_wildcards
from neuralib.persistence._errors import DataNotSetError, UndeclaredAttributeError, WildcardKeyError

info_of = ensure_persistence_class


def check(result, cls=None):
    check_before_saving(result, info_of(cls or type(result)))


# ---------------------------------------------------------------------------------------------- of other libraries


def test_a_pydantic_model_is_refused():
    """pydantic would take the keys out of the class body."""
    pydantic = pytest.importorskip("pydantic")
    with pytest.raises(FieldDefinitionError, match=r"Model: is a pydantic model.*plain class"):

        @persistence_class
        class Model(pydantic.BaseModel):
            model_config = {"arbitrary_types_allowed": True}
            animal: str = field(filename=True)


def test_fields_of_other_libraries_are_refused():
    """They would become the default value of a data field."""
    foreign = [dataclasses.field(default=1)]
    for module, name in (("attrs", "field"), ("pydantic", "Field")):
        if module in sys.modules or __import__("importlib").util.find_spec(module):
            foreign.append(getattr(__import__(module), name)())
    for value in foreign:
        for written in ({"a": int}, {}):
            with pytest.raises(FieldDefinitionError, match=r"R\.a: is declared with .*neuralib.persistence.field"):
                persistence_class(type("R", (), {"__annotations__": written, "a": value}))


def test_a_dataclass_that_holds_our_fields_is_refused():
    """Its ``__init__`` would set the declarations as values."""
    with pytest.raises(FieldDefinitionError, match="R: is a dataclass"):

        @persistence_class
        @dataclasses.dataclass
        class R:
            animal: str = field(filename=True)

    attrs = pytest.importorskip("attrs")
    with pytest.raises(FieldDefinitionError, match="A: is an attrs class"):

        @persistence_class
        @attrs.define(slots=False)
        class A:
            animal: str = field(filename=True)


def test_a_dataclass_as_base_is_refused():
    """Its ``__init__`` takes none of our keys, and its fields would not be saved."""

    @dataclasses.dataclass
    class Base:
        rate: float = 30.0

    with pytest.raises(
        FieldDefinitionError, match=r"R: its base .*Base is a dataclass.*make the base a persistence class"
    ):

        @persistence_class
        class R(Base):
            animal: str = field(filename=True)

    @persistence_class
    class Own(Base):
        animal: str = field(filename=True)

        def __init__(self, animal):
            super().__init__()
            self.animal = animal

    assert filename(Own("A00")) == "cache-Own-A00"


def test_a_dataclass_that_could_not_be_loaded_is_refused(tmp_path):
    """Loading gives the keys alone to ``__init__``. A dataclass that needs more would save what it can't load."""
    with pytest.raises(FieldDefinitionError, match="its __init__ does not accept its keys alone.*'rate'"):

        @persistence_class
        @dataclasses.dataclass
        class R:
            rate: float

    @persistence_class
    @dataclasses.dataclass
    class Fits:
        rate: float = 30.0

    handler = PickleHandler(Fits, tmp_path)
    handler.save_persistence(Fits(20.0))
    assert handler.load_persistence({}).rate == 20.0

    @persistence_class
    @dataclasses.dataclass
    class Makes:
        rate: float

        @classmethod
        def from_dict(cls, data):
            return cls(**data)

    handler = PickleHandler(Makes, tmp_path)
    handler.save_persistence(Makes(20.0))
    assert handler.load_persistence({}).rate == 20.0


class OfNumbers(list):
    """A list without a decorator."""


@pytest.mark.parametrize("base", [dict, list, OfNumbers, set, tuple, str, float, Exception, np.ndarray, Counter])
def test_a_class_with_content_beside_its_attributes_is_refused(base):
    """Only attributes are saved, so that the items of a dict would be lost."""
    body = {
        "__annotations__": {"a": "str"},
        "a": field(filename=True),
        "__init__": lambda self, a: setattr(self, "a", a),
    }
    with pytest.raises(
        FieldDefinitionError, match=r"R: is a \w+, whose content would not be saved: make it a plain class"
    ):
        persistence_class(type("R", (base,), body))


def test_a_class_is_decorated_once():
    """The second time, its keys would be taken for data."""
    with pytest.raises(FieldDefinitionError, match="R: is decorated twice"):

        @persistence_class(name="Other")
        @persistence_class
        class R:
            a: str = field(filename=True)


def test_a_class_variable_that_only_type_checkers_import_is_no_field(tmp_path, monkeypatch):
    """Only the source says that the name stands for ClassVar."""
    lines = [
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
        "from neuralib.persistence import field, persistence_class",
        "if TYPE_CHECKING:",
        "    from typing import (Any, ClassVar as Shared,",
        "        ClassVar as Common)",
        "    from numpy import ndarray as Array",
        "@persistence_class",
        "class R:",
        "    animal: str = field(filename=True)",
        "    unit: Shared[str] = 'Hz'",
        "    scale: Common = 2",
        "    rates: Array",
    ]
    (tmp_path / "for_checkers.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("for_checkers").R
    assert info_of(cls).fields_name() == ["animal", "rates"]
    assert cls.unit == "Hz"


def test_a_field_that_declares_nothing_is_refused():
    """``field`` without a call would make the key a data field."""
    for annotation, value in ((str, field), (int, autoinc_field)):
        with pytest.raises(FieldDefinitionError, match=r"R\.a: write 'a: <type> = .*field\(\)', with parentheses"):
            persistence_class(type("R", (), {"__annotations__": {"a": annotation}, "a": value}))
    with pytest.raises(FieldDefinitionError, match=r"R\.a: has field\(...\) in its annotation"):

        @persistence_class
        class R:
            a: Annotated[str, field(filename=True)]

    for annotation in (Annotated[str, field(filename=True)], "Annotated[str, field()]"):
        body = {"__annotations__": {"a": annotation}, "__module__": __name__}
        with pytest.raises(FieldDefinitionError, match=r"R\.a: has field\(...\) in its annotation"):
            persistence_class(type("R", (), body))


def test_marks_of_dataclasses_are_refused():
    """``KW_ONLY`` and ``InitVar`` would become data fields."""
    with pytest.raises(FieldDefinitionError, match=r"R\._: .*KW_ONLY"):

        @persistence_class
        class R:
            animal: str = field(filename=True)
            _: dataclasses.KW_ONLY

    with pytest.raises(FieldDefinitionError, match=r"S\.scale: .*InitVar"):

        @persistence_class
        class S:
            animal: str = field(filename=True)
            scale: dataclasses.InitVar[float]


def test_classes_that_cannot_have_results_are_refused():
    """Enums, typed dicts, protocols."""
    with pytest.raises(FieldDefinitionError, match="E: is an Enum"):
        persistence_class(enum.Enum("E", "A B"))
    with pytest.raises(FieldDefinitionError, match="D: is a TypedDict"):
        persistence_class(TypedDict("D", {"a": int}))
    with pytest.raises(FieldDefinitionError, match=r"P: is a Protocol.*implements it"):

        @persistence_class
        class P(Protocol):
            animal: str = field(filename=True)


def test_a_post_init_is_refused_where_nobody_calls_it():
    """Only dataclasses call ``__post_init__``. An ``__init__`` of the class may call it itself."""
    with pytest.raises(FieldDefinitionError, match=r"R\.__post_init__: would not be called.*property"):

        @persistence_class
        class R:
            animal: str = field(filename=True)

            def __post_init__(self):
                pass

    @persistence_class
    class Own:
        animal: str = field(filename=True)

        def __init__(self, animal):
            self.animal = animal
            self.__post_init__()

        def __post_init__(self):
            self._seen = True

    assert Own("A00")._seen


def test_a_class_that_implements_a_protocol_has_its_init(tmp_path):
    """The ``__init__`` that Protocol adds does not count as the class's own."""

    class HasAnimal(Protocol):
        animal: str

        def area(self) -> str: ...

    @persistence_class
    class R(HasAnimal):
        animal: str = field(filename=True)
        data: int

        def area(self) -> str:
            return "RSC"

    result = R("A00")
    result.data = 3
    assert (filename(result), result.area(), as_dict(result)) == ("cache-R-A00", "RSC", {"animal": "A00", "data": 3})
    assert as_dict(from_dict(R, as_dict(result))) == as_dict(result)

    @typing.runtime_checkable
    class Sized(Protocol):
        def __len__(self) -> int: ...

    @persistence_class
    class S(R, Sized):
        def __len__(self):
            return 0

    assert filename(S("A01")) == "cache-S-A01"
    assert isinstance(S("A01"), Sized)


# ---------------------------------------------------------------------------------------------- class variables


@persistence_class
class Constants:
    animal: str = field(filename=True)
    plain: ClassVar[int] = 1
    bare: ClassVar = 2
    alias: Shared[int] = 3
    module: tp.ClassVar[int] = 4
    annotated: Annotated[ClassVar[int], "x"] = 5
    aliased: Annotated[Shared, "x"] = 6
    for_checkers: typing.ClassVar["Constants"]
    quoted: "ClassVar[int]" = 7
    unknown: Nowhere[int]  # noqa: F821
    data: int


def test_class_variables_are_no_fields():
    """Under whatever name ``ClassVar`` is imported."""
    assert info_of(Constants).fields_name() == ["animal", "unknown", "data"]


def test_an_alias_of_the_enclosing_function_is_known():
    """A class may be defined in a function, for example in a test."""
    from typing import ClassVar as Local

    @persistence_class
    class R:
        animal: str = field(filename=True)
        unit: Local[str] = "au"

    assert info_of(R).fields_name() == ["animal"]


def test_class_variables_without_postponed_annotations():
    """Their annotations are objects, and not texts."""
    written = {
        "a": str,
        "b": ClassVar[int],
        "c": Annotated[ClassVar[int], "x"],
        "d": Annotated[int, "x"],
        "e": "ClassVar",
    }
    cls = persistence_class(type("R", (), {"__annotations__": written, "a": field(filename=True)}))
    assert info_of(cls).fields_name() == ["a", "d"]


class Late:
    """Stands for ``annotationlib``, which evaluates annotations when they are asked for."""

    class ForwardRef:
        def __init__(self, text):
            self.text = text

    Format = types.SimpleNamespace(STRING="string", FORWARDREF="forwardref")

    def __init__(self, known, texts):
        self.known, self.texts = known, texts

    def get_annotations(self, cls, *, format):
        found = self.texts if format == "string" else self.known
        if isinstance(found, Exception):
            raise found
        return dict(found)


def test_lazily_evaluated_annotations_are_like_postponed_ones():
    """A name that is not defined yet is kept as text; what is defined is evaluated."""
    texts = {"a": "int", "b": "list[R]", "c": "ClassVar[int]", "d": "Callable[[R], int]", "e": "Literal['R']"}
    known = {
        "a": int,
        "b": list[Late.ForwardRef("R")],
        "c": Late.ForwardRef("ClassVar[int]"),
        "d": typing.Callable[[Late.ForwardRef("R").text], int],
        "e": typing.Literal["R"],
    }
    found = hints.late_annotations_of(Constants, Late(known, texts))
    assert found == {**known, "b": "list[R]", "c": "ClassVar[int]"}
    assert hints.is_class_var(Constants, found["c"])


def test_an_annotation_that_raises_breaks_no_class():
    """Its text is used. If even that can't be had, the source has it."""
    texts = {"a": "1 / 0", "b": "int"}
    assert hints.late_annotations_of(Constants, Late(ZeroDivisionError(), texts)) == texts
    found = hints.late_annotations_of(Constants, Late(ZeroDivisionError(), ZeroDivisionError()))
    assert found == Constants.__annotations__
    made = type("Made", (), {})
    with pytest.raises(FieldDefinitionError, match=r"Made: an annotation .*ZeroDivisionError.*in quotes"):
        hints.late_annotations_of(made, Late(ZeroDivisionError(), ZeroDivisionError()))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated late from 3.14 on")
def test_lazily_evaluated_annotations_of_this_python(tmp_path):
    """Without the future import: the class's own name, a later name, a name for type checkers only, an annotation that raises."""
    module = tmp_path / "late.py"
    module.write_text(
        "from typing import TYPE_CHECKING\n"
        "from neuralib.persistence import field, persistence_class\n"
        "if TYPE_CHECKING:\n    from typing import ClassVar\n"
        "@persistence_class\n"
        "class R:\n"
        "    animal: str = field(filename=True)\n"
        "    plane: Plane = field(filename=True)\n"
        "    other: R | None = field(default=None)\n"
        "    unit: ClassVar[str] = 'au'\n"
        "    broken: 1 / 0\n"
        "    data: list[R]\n"
        "Plane = int\n"
    )
    spec = __import__("importlib.util").util.spec_from_file_location("late", module)
    found = __import__("importlib.util").util.module_from_spec(spec)
    sys.modules["late"] = found
    try:
        spec.loader.exec_module(found)
        info = info_of(found.R)
        assert info.fields_name() == ["animal", "plane", "other", "broken", "data"]
        assert [declared.field_type for declared in info.fields] == [str, int, found.R | None, "1 / 0", list[found.R]]
    finally:
        del sys.modules["late"]


# ---------------------------------------------------------------------------------------------- strict classes


@persistence_class(strict=True)
class Strict:
    animal: str = field(filename=True)
    run: int = autoinc_field()
    note: str = field(default="")
    score: float
    tags: list[str] = field(init=False, default_factory=list)
    unit: ClassVar[str] = "au"
    _private: int = 0

    @property
    def double(self):
        return self.score * 2

    @double.setter
    def double(self, value):
        self.score = value / 2

    @functools.cached_property
    def slow(self):
        return 3


def test_a_strict_class_refuses_what_it_does_not_declare():
    """When the attribute is set. The error suggests a similar name."""
    result = Strict("A00")
    with pytest.raises(UndeclaredAttributeError, match=r"Strict\.scroe is not declared.*did you mean score") as caught:
        result.scroe = 1.0
    assert (caught.value.attribute, caught.value.field) == ("scroe", "score")
    with pytest.raises(UndeclaredAttributeError, match="Strict does not declare elsewhere"):
        result.elsewhere = 1
    assert as_dict(result) == {"animal": "A00", "run": None, "note": "", "tags": [], "_private": 0}
    result.double = 5.0
    result._hidden = 1
    result.unit = "V"
    assert (result.score, result.slow, result._hidden) == (2.5, 3, 1)


def test_a_strict_class_refuses_to_save_without_its_data():
    """Fields with a default need not be set. Missing keys and numbers have other errors."""
    info, result = info_of(Strict), Strict("A00")
    with pytest.raises(DataNotSetError, match=r"Strict can't be saved without score") as caught:
        info.refuse_unsaved(result)
    assert caught.value.fields == ("score",)
    result.score = 0.5
    info.refuse_unsaved(result)
    info_of(Constants).refuse_unsaved(Constants("A00"))


def test_a_strict_result_is_saved_and_loaded(tmp_path):
    """A copy of it that was pickled has the same fields, too."""
    handler = PickleHandler(Strict, tmp_path)
    result = Strict("A00")
    result.score = 0.5
    handler.save_persistence(result)
    loaded = handler.load_persistence(result)
    assert as_dict(loaded) == as_dict(result) == as_dict(pickle.loads(pickle.dumps(result)))


def test_strictness_is_inherited():
    """A subclass adds its own fields, and may turn strictness off."""

    @persistence_class
    class Sub(Strict):
        more: int

    @persistence_class(strict=False)
    class Free(Strict):
        more: int

    class Undecorated(Strict):
        @property
        def half(self):
            return 1

    sub = Sub("A00")
    sub.more = sub.score = 1
    with pytest.raises(UndeclaredAttributeError, match="Sub does not declare other"):
        sub.other = 1
    with pytest.raises(UndeclaredAttributeError, match="Strict does not declare other"):
        Undecorated("A00").other = 1
    assert Free.__setattr__ is object.__setattr__
    free = Free("A00")
    free.more = free.other = 1
    assert (info_of(Sub).strict, info_of(Free).strict) == (True, False)


def test_a_strict_class_calls_its_own_setattr():
    """For fields that are declared."""
    seen = []

    @persistence_class(strict=True)
    class R:
        animal: str = field(filename=True)
        data: int

        def __setattr__(self, name, value):
            seen.append(name)
            super().__setattr__(name, value)

    result = R("A00")
    result.data = 1
    with pytest.raises(UndeclaredAttributeError):
        result.dato = 1
    assert seen == ["animal", "data"]


def test_a_subclass_may_have_a_setattr_of_its_own():
    """If it calls that of its strict base, the subclass's fields are accepted there."""

    @persistence_class
    class R(Strict):
        more: int

        def __setattr__(self, name, value):
            super().__setattr__(name, value)

    result = R("A00")
    result.more = 1
    with pytest.raises(UndeclaredAttributeError, match="R does not declare other"):
        result.other = 1


def test_classes_that_are_not_strict_have_no_setattr():
    """So setting their attributes is as fast as ever."""
    assert Constants.__setattr__ is object.__setattr__


# ---------------------------------------------------------------------------------------------- before saving


@persistence_class
class Score:
    animal: str = field(filename=True)
    run: int = autoinc_field()
    score: float
    spike_times: list[float]
    tags: list[str] = field(init=False, default_factory=list)
    level: ClassVar[int] = 3

    def method(self):
        return 1

    @functools.cached_property
    def slow(self):
        return 3


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("scroe", "score"),
        ("scores", "score"),
        ("Score", "score"),
        ("spiketimes", "spike_times"),
        ("spike_time", "spike_times"),
    ],
)
def test_a_likely_misspelling_is_an_error(name, meant):
    """The value would not be saved; the error has both names."""
    result = Score("A00")
    setattr(result, name, 1.0)
    with pytest.raises(
        UndeclaredAttributeError, match=rf"Score\.{name} is not declared.*did you mean {meant}"
    ) as caught:
        check(result)
    assert (caught.value.attribute, caught.value.field) == (name, meant)


def test_a_similar_name_is_no_misspelling_if_the_field_is_set():
    """Then both are meant."""
    result = Score("A00")
    result.score, result.scores = 1.0, [1.0]
    check(result)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("x_1", "x_2"), ("trial1", "trial2"), ("mean_a", "mean_b"), ("data", "date"), ("raw", "row"), ("dff", "dff_z"), ("a", "b"),
        ("velocity", "position"), ("left_hand", "right_hand"), ("train_score", "test_score"), ("mean", "median"), ("std", "sem"),
        ("min_rate", "max_rate"), ("baseline_mean", "baseline_max"), ("pre_x", "pro_x"), ("pre_stim", "post_stim"), ("input", "output"), ("start", "stop"), ("figure", "score"),
    ],
)  # fmt: skip
def test_names_that_differ_on_purpose_are_no_misspellings(name, other):
    """Code that keeps other attributes on a result goes on working."""
    assert close_name(name, [other]) is None
    assert close_name(other, [name]) is None


def test_other_attributes_give_one_warning(caplog):
    """One for each class and name. Private attributes, caches and methods give none."""

    @persistence_class
    class R(Score):
        pass

    with caplog.at_level(logging.WARNING, "neuralib.persistence"):
        for _ in range(3):
            result = R("A00")
            result.figure, result.level, result._private, result.method = 1, 2, 3, lambda: 4
            assert result.slow == 3
            check(result)
    assert [record.getMessage().split(" is ")[0].rpartition(".")[2] for record in caplog.records] == ["figure", "level"]
    assert "begin its name with an underscore" in caplog.text


def test_what_is_not_set_is_no_error():
    """Data may be missing on purpose."""
    check(Score("A00"))


def test_a_subclass_that_lacks_the_decorator_is_an_error():
    """Its fields would not be saved."""

    class Forgotten(Score):
        extra: int

    class Below(Forgotten):
        pass

    class Declared(Score):
        extra = field(filename=True)

    for kind in (Forgotten, Below, Declared):
        for _ in range(2):
            with pytest.raises(
                FieldDefinitionError, match=r"\.extra: would not be saved.*decorate it with @persistence_class"
            ):
                check(kind("A00"), Score)


def test_a_subclass_that_adds_no_fields_works():
    """It may add methods, class variables and private names, and narrow the type of an inherited field."""

    class Methods(Score):
        limit: ClassVar[int] = 3
        _cache: dict[str, int]
        score: int

        def more(self):
            return 1

    class Mixin:
        hint: str = ""

    class Mixed(Mixin, Methods):
        pass

    for kind in (Methods, Mixed):
        check(kind("A00"), Score)
        check(kind("A00"), Score)


def test_a_template_is_not_saved():
    """A wildcard stands for any value."""
    with pytest.raises(WildcardKeyError, match=r"Score\.animal is `missing`") as caught:
        check(Score(missing))
    assert caught.value.field == "animal"
    refuse_wildcards(Score("A00"), info_of(Score))


# ---------------------------------------------------------------------------------------------- classes change


@persistence_class(version=3)
class Versioned:
    subject: str = field(filename=True, renamed_from="animal", description="who")
    rate: float = field(default=30.0, unit="Hz", renamed_from=("fps", "speed"))
    run: int = autoinc_field("#", renamed_from="number", description="repetition")
    accuracy: float = field(init=False, renamed_from="score", unit="%", description="of all trials")
    trace: list[float]

    @classmethod
    def upgrade(cls, fields, version):
        return fields


def test_descriptions_and_units_are_kept():
    """On the fields and on the class."""
    info = info_of(Versioned)
    assert info.version == 3
    assert info.former_names == {
        "animal": "subject", "fps": "rate", "speed": "rate", "number": "run", "score": "accuracy",
    }  # fmt: skip
    said = {
        declared.field_name: (declared.renamed_from, declared.unit, declared.description) for declared in info.fields
    }
    assert said == {
        "subject": (("animal",), "", "who"),
        "rate": (("fps", "speed"), "Hz", ""),
        "run": (("number",), "", "repetition"),
        "accuracy": (("score",), "%", "of all trials"),
        "trace": ((), "", ""),
    }
    assert info_of(Constants).version == 0
    assert info_of(Constants).former_names == {}
    assert not info.get_field("accuracy").init
    assert as_dict(Versioned("A00")) == {"subject": "A00", "rate": 30.0, "run": None}


def test_versions_and_former_names_are_inherited():
    """With the fields and the ``upgrade`` classmethod."""

    @persistence_class
    class Sub(Versioned):
        extra: int = field(init=False, renamed_from="more")

    @persistence_class(version=7)
    class Newer(Versioned):
        pass

    assert (info_of(Sub).version, info_of(Newer).version) == (3, 7)
    assert info_of(Sub).former_names == {**info_of(Versioned).former_names, "more": "extra"}


@pytest.mark.parametrize("version", [-1, 1.5, "2", True])
def test_a_version_is_a_number(version):
    """An int from 0 on."""
    with pytest.raises(FieldDefinitionError, match="version= must be an int from 0 on"):
        persistence_class(version=version)(type("R", (), {}))


@pytest.mark.parametrize("option", ["strict", "portable"])
def test_options_are_true_or_false(option):
    """Other values are refused."""
    with pytest.raises(FieldDefinitionError, match=f"{option}= must be True or False"):
        persistence_class(**{option: "yes"})(type("R", (), {}))


def test_upgrade_is_a_classmethod():
    """If the class has a version. Other classes may use the name for anything."""
    body = {"upgrade": lambda self, fields, version: fields}
    with pytest.raises(FieldDefinitionError, match=r"R\.upgrade: must be a classmethod"):
        persistence_class(version=1)(type("R", (), dict(body)))
    persistence_class(type("R", (), dict(body)))
    persistence_class(version=1)(type("R", (), {}))


@pytest.mark.parametrize(
    ("first", "second"),
    [("b", ()), ("x", "x"), (("x", "x"), ()), ("a", ())],
    ids=["another's", "twice", "again", "its own"],
)
def test_a_former_name_stands_for_one_field(first, second):
    """Two fields with the same former name are refused."""
    body = {
        "__annotations__": {"a": str, "b": str},
        "a": field(renamed_from=first),
        "b": field(renamed_from=second),
    }
    with pytest.raises(FieldDefinitionError, match=r"R\.[ab]: renamed_from="):
        persistence_class(type("R", (), body))


@pytest.mark.parametrize(
    "wrong",
    [{"renamed_from": 3}, {"renamed_from": ("a", 3)}, {"renamed_from": ("",)}, {"unit": 3}, {"description": None}],
)
def test_descriptions_and_units_are_text(wrong):
    """Other values are refused where they are written."""
    with pytest.raises(TypeError, match=next(iter(wrong))):
        field(**wrong)


def test_fields_can_still_be_made_by_position():
    """As in the existing package."""
    made = PersistentField(True, "p", True, True, False, True, 3)
    assert (made.validator, made.filename_prefix, made.filename, made.init, made.default) == (True, "p", True, True, 3)
    assert PersistentClass(type("R", (), {}), "name", "_").filename_field_splitter == "_"


def test_a_copy_of_a_declaration_is_another():
    """One declaration under two names is copied for each. What only one field may have, such as a former name, is refused."""
    shared = field(filename=True, renamed_from="old", unit="s")

    with pytest.raises(FieldDefinitionError, match="renamed_from='old'"):

        @persistence_class
        class R:
            a: str = shared
            b: str = shared


# ---------------------------------------------------------------------------------------------- by keyword


def test_functions_take_their_arguments_by_keyword(tmp_path):
    """By the parameter names of the existing package."""

    @persistence_class
    class R:
        animal: str = field(filename=True)
        data: int

    result = from_dict(data_cls=R, d={"animal": "A00", "data": 3})
    assert as_dict(data=result) == {"animal": "A00", "data": 3}
    PickleHandler(R, tmp_path).save_persistence(result)
    assert load_by(data_cls=R, path=tmp_path, animal="A00").data == 3
    with pytest.raises(TypeError):
        as_dict()
    with pytest.raises(TypeError):
        as_dict(result, result)
    with pytest.raises(TypeError):
        as_dict(result=result)


# ---------------------------------------------------------------------------------------------- threads


def test_threads_that_first_look_at_a_default_get_the_same():
    """Otherwise what one thread appends to a default list would be lost."""
    start = threading.Barrier(4)
    kept, seen = sys.getswitchinterval(), []

    @persistence_class
    class R:
        animal: str = field(filename=True)
        made: list[int] = field(init=False, default_factory=lambda: [slow() for _ in range(2)] and [])
        copied: list[int] = []
        counts: dict[str, int] = field(init=False, default={})

    def slow():
        return sum(range(50))

    def touch(results):
        start.wait()
        for place, result in enumerate(results):
            result.made.append(place)
            result.copied.append(place)
            result.counts[str(threading.get_ident())] = place

    results = [R("A00") for _ in range(2000)]
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=touch, args=(results,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(kept)
    seen = [(len(result.made), len(result.copied), len(result.counts)) for result in results]
    assert set(seen) == {(4, 4, 4)}
