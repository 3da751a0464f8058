"""Tables of results: typed columns, data frames of other libraries, and stacked arrays."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Annotated, Literal, Optional

import numpy as np
import pytest
from checks import Pair, Run, filled

from neuralib.persistence import (
    GzipHandler,
    MissingFieldError,
    NothingFoundError,
    PickleHandler,
    StackError,
    UnknownFieldError,
    UntrustedTypeError,
    autoinc_field,
    field,
    persistence_class,
)


class State(enum.Enum):
    AWAKE = "awake"
    ASLEEP = "asleep"


@persistence_class(filename_field_splitter="~")
class Session:
    animal: str = field(filename=True)
    date: datetime.date = field(filename=True)
    plane: int = field(filename=True)
    kind: Literal["spks", "df_f"] = field(filename=True)
    state: State = field(filename=True)
    dose: Optional[float] = field(filename=True, default=None)
    trial: Optional[int] = field(filename=True, default=None)
    area: tuple[float, float] = field(filename=True, default=(0.0, 1.0))
    valid: bool = field(filename=True, default=True)
    note: str = field(default="")
    run: int = autoinc_field("#")
    weights: np.ndarray
    score: float


DAY = datetime.date(2023, 1, 2)


def session(number, **keys):
    made = Session("A00", DAY, number, "spks", State.ASLEEP, **keys)
    made.weights, made.score = np.full(3, number, float), number / 2
    return made


@pytest.fixture
def handler(tmp_path):
    handler = PickleHandler(Session, tmp_path)
    handler.save_all([session(10, note="late"), session(2, dose=0.5, trial=3), session(0)])
    return handler


COLUMNS = {
    "animal": ["A00"] * 3,
    "date": [DAY] * 3,
    "plane": [0, 2, 10],
    "kind": ["spks"] * 3,
    "state": [State.ASLEEP] * 3,
    "dose": [None, 0.5, None],
    "trial": [None, 3, None],
    "area": [(0.0, 1.0)] * 3,
    "valid": [True] * 3,
    "run": [0, 0, 0],
}


def test_columns_are_values_of_the_annotations(handler):
    """They are read from names alone."""
    for path in handler.save_root.iterdir():
        path.write_bytes(b"")
    found = handler.find().to_columns()
    assert found == COLUMNS
    assert list(found) == list(COLUMNS)


def test_chosen_fields_are_read_from_the_files(handler):
    """Single values, keys that are not in the name, and paths."""
    unfinished = session(11)
    del unfinished.score
    handler.save_persistence(unfinished)
    found = handler.find().to_columns("score", "note", "plane", path=True)
    assert list(found)[-3:] == ["score", "note", "path"]
    assert found["score"] == [0.0, 1.0, 5.0, None]
    assert found["note"] == ["", "", "late", ""]
    assert [Path(path) for path in found["path"]] == handler.find().paths


def test_an_array_is_no_cell_of_a_table(handler):
    """The error says what to do instead, also if only the head of the file is read."""
    with pytest.raises(TypeError, match=r"weights is an array of shape \(3,\).*stack\('weights'\)"):
        handler.find().to_columns("weights")
    large = session(1)
    large.weights = np.zeros((200, 200))
    handler.save_persistence(large)
    with pytest.raises(TypeError, match=r"#0.pkl: weights is an array of shape \(200, 200\)"):
        handler.find(plane=1).to_columns("weights")
    with pytest.raises(UnknownFieldError, match="nothing"):
        handler.find().to_columns("nothing")


def test_a_column_of_paths_does_not_replace_a_field(tmp_path):
    """A class may have a key of that name."""

    @persistence_class
    class Copied:
        path: str = field(filename=True)

    PickleHandler(Copied, tmp_path).save_persistence(Copied("a"))
    found = PickleHandler(Copied, tmp_path).find()
    with pytest.raises(ValueError, match="Copied has a field of the name 'path'"):
        found.to_columns(path=True)
    assert found.to_columns() == {"path": ["a"]}


def test_values_with_a_single_element_are_cells(tmp_path):
    """Such as numpy's functions return."""
    handler = PickleHandler(Pair, tmp_path)
    handler.save_persistence(filled(Pair(1, 2), data=np.float32(0.5)))
    handler.save_persistence(filled(Pair(3, 4), data=np.array(1.5)))
    assert handler.find().to_columns("data") == {"a": [1, 3], "b": [2, 4], "data": [0.5, 1.5]}


def test_keys_that_names_do_not_tell_are_read(tmp_path):
    """The column has them in their places."""
    handler = PickleHandler(Run, tmp_path)
    for animal in ("A-#1", 3, "B"):
        handler.save_persistence(Run(animal))
    assert handler.find().to_columns() == {"animal": [3, "A-#1", "B"], "version": [0, 0, 0]}


def test_an_empty_table_has_its_columns(tmp_path):
    """So that a program works on an empty folder."""
    found = PickleHandler(Session, tmp_path / "none").find()
    assert found.to_columns("score") == {name: [] for name in [*COLUMNS, "score"]}


def test_pandas_columns_are_typed(handler):
    """Ints are ints, also beside None; dates are dates; Literals and Enums are categories."""
    pandas = pytest.importorskip("pandas")
    frame = handler.find().to_pandas("score", path=True)
    assert list(frame.columns) == [*COLUMNS, "score", "path"]
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["plane"] == kinds["run"] == "int64"
    assert (kinds["trial"], kinds["dose"], kinds["score"], kinds["valid"]) == ("Int64", "float64", "float64", "bool")
    assert list(frame["kind"].cat.categories) == ["spks", "df_f"]
    assert list(frame["state"]) == ["ASLEEP"] * 3
    assert list(frame["state"].cat.categories) == ["AWAKE", "ASLEEP"]
    assert frame["date"][0] == DAY
    assert type(frame["date"][0]) is datetime.date
    assert frame["area"][0] == (0.0, 1.0)
    assert frame["trial"].isna().tolist() == [True, False, True]
    empty = PickleHandler(Session, handler.save_root / "none").find().to_pandas()
    assert str(empty["plane"].dtype) == "int64"
    assert isinstance(empty["kind"].dtype, pandas.CategoricalDtype)


def test_polars_columns_are_typed(handler, tmp_path):
    """Types that polars lacks become text."""
    polars = pytest.importorskip("polars")
    frame = handler.find().to_polars("score")
    kinds = frame.schema
    assert kinds["plane"] == kinds["trial"] == polars.Int64
    assert (kinds["date"], kinds["valid"], kinds["dose"]) == (polars.Date, polars.Boolean, polars.Float64)
    assert kinds["kind"] == polars.Enum(["spks", "df_f"])
    assert kinds["area"] == polars.List(polars.Float64)
    assert frame["state"].to_list() == ["ASLEEP"] * 3
    assert frame["trial"].to_list() == [None, 3, None]
    mixed = PickleHandler(Pair, tmp_path / "mixed")
    mixed.save_persistence(Pair("x", 10**60))
    mixed.save_persistence(Pair(3, None))
    assert mixed.find().to_polars()["a"].to_list() == ["3", "x"]
    assert mixed.find().to_polars()["b"].to_list() == [None, str(10**60)]
    mixed.save_persistence(Pair("\udcff", 7))
    assert mixed.find().to_polars()["a"].to_list() == ["3", "x", "\\udcff"]  # a name that is no UTF-8
    assert PickleHandler(Session, tmp_path / "none").find().to_polars().schema["plane"] == polars.Int64


@pytest.mark.parametrize("name", ["pandas", "polars", "xarray"])
def test_a_missing_library_is_named_with_its_extra(handler, monkeypatch, name):
    """None of them is a dependency."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'to_{name}\(\) needs {name}: pip install "neuralib-persistence\[{name}\]"'):
        getattr(handler.find(), f"to_{name}")()


# ---------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stack_has_the_fields_of_all_results_in_order(tmp_path, threads):
    """For arrays of any number of dimensions, and for single numbers."""
    handler = GzipHandler(Session, tmp_path, threads=threads)
    for number in range(12):
        result = session(number)
        result.weights = np.arange(6.0).reshape(2, 3) + number
        handler.save_persistence(result)
    found = handler.find()
    stack = found.stack("weights")
    assert stack.shape == (12, 2, 3)
    assert (stack[10] == np.arange(6.0).reshape(2, 3) + 10).all()
    assert found[::-1].stack("score").tolist() == [twice / 2 for twice in range(11, -1, -1)]
    assert found.stack("plane").tolist() == list(range(12))
    out = np.zeros((12, 2, 3), np.float32)
    assert found.stack("weights", out=out) is out
    assert (out == stack).all()
    with pytest.raises(ValueError, match=r"out has shape \(11, 2, 3\)"):
        found.stack("weights", out=out[1:])
    with pytest.raises(ValueError, match="does not hold float64"):
        found.stack("weights", out=np.zeros((12, 2, 3), int))


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros(3, np.float32), np.zeros((1, 3))])
def test_a_result_that_does_not_fit_into_a_stack_is_named(handler, wrong):
    """With what differs."""
    odd = session(3)
    odd.weights = wrong
    handler.save_persistence(odd)
    with pytest.raises(StackError) as caught:
        handler.find().stack("weights")
    assert Path(caught.value.path) == handler.find(plane=3)[0].path
    assert f"has shape {wrong.shape} and dtype {wrong.dtype}, but shape (3,) and dtype float64" in str(caught.value)


def test_what_can_not_be_stacked_is_refused(handler):
    """Fields that are no numbers, absent or unknown fields, an empty result set."""
    with pytest.raises(StackError, match="state is no array of numbers"):
        handler.find().stack("state")
    with pytest.raises(NothingFoundError):
        handler.find(plane=99).stack("weights")
    with pytest.raises(UnknownFieldError):
        handler.find().stack("wights")
    unfinished = session(11)
    del unfinished.weights
    handler.save_persistence(unfinished)
    with pytest.raises(MissingFieldError, match="~11~"):
        handler.find().stack("weights")


def test_a_stack_takes_no_more_memory_than_itself_and_one_result(tmp_path):
    """So that anything that fits into memory can be stacked."""
    handler = PickleHandler(Pair, tmp_path)
    size = 250_000
    for number in range(12):
        handler.save_persistence(filled(Pair(number, 0), data=np.full(size, number, float)))
    found = handler.find()
    assert len(found) == 12
    found[0].load()  # imports what loading needs
    tracemalloc.start()
    try:
        stack = found.stack("data")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stack[11, -1] == 11
    assert peak <= stack.nbytes + 8 * size + 500_000


def test_an_xarray_dataset_has_keys_as_dimensions(tmp_path):
    """Coordinates are in natural order, a key with one value is no dimension, and gaps are NaN."""
    pytest.importorskip("xarray")
    handler = PickleHandler(Session, tmp_path)
    for plane in (10, 2):
        for trial in (1, 0):
            if (plane, trial) != (10, 1):
                result = session(plane, trial=trial)
                result.score = 10.0 * plane + trial
                handler.save_persistence(result)
    data = handler.find().to_xarray("score", "weights", field_dims={"weights": ["cell"]})
    assert dict(data.sizes) == {"plane": 2, "trial": 2, "cell": 3}
    assert data.plane.values.tolist() == [2, 10]
    assert data.score.sel(plane=2, trial=1) == 21
    assert np.isnan(data.score.sel(plane=10, trial=1))
    assert data.weights.sel(plane=10, trial=0).values.tolist() == [10, 10, 10]
    assert data.animal == "A00"
    assert data.state == "ASLEEP"
    assert data.date.values == np.datetime64("2023-01-02")
    whole = handler.find(trial=0).to_xarray("score", "run", dims=["animal", "plane"])
    assert dict(whole.sizes) == {"animal": 1, "plane": 2}
    assert whole.run.dtype == int


def test_an_xarray_dataset_that_can_not_be_made_is_refused(tmp_path):
    """Two results at one place, no value for gaps, an unknown key."""
    pytest.importorskip("xarray")
    handler = PickleHandler(Run, tmp_path)
    for animal in ("A", "A", "B"):
        handler.save_persistence(filled(Run(animal), data=3))
    with pytest.raises(ValueError, match=r"#0.pkl and .*#1.pkl have the same animal.*latest\(\)"):
        handler.find().to_xarray("data", dims=["animal"])
    assert handler.find().latest().to_xarray("data", dims=["animal"]).version.values.tolist() == [1, 0]
    with pytest.raises(ValueError, match="fill_value"):
        handler.find().to_xarray("data")
    assert handler.find().to_xarray("data", fill_value=-1).data_vars["data"].values.tolist() == [[3, 3], [3, -1]]
    with pytest.raises(ValueError, match="dims are keys of the name.*not plane"):
        handler.find().to_xarray("data", dims=["plane"])


# ------------------------------------------------------------------------------------------ trust


class Touch:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@persistence_class
class Doubted:
    animal: str = field(filename=True)
    score: object
    weights: np.ndarray


@pytest.mark.parametrize("large", [False, True])
def test_a_file_is_trusted_no_more_than_its_handler_says(tmp_path, large):
    """A column, a condition and a stack read files by the handler's ``trusted``, whatever the size of the file."""
    touched = tmp_path / "touched"
    handler = PickleHandler(Doubted, tmp_path / "results", trusted=False)
    result = Doubted("A")
    result.score, result.weights = 0.5, np.zeros(1 << 15 if large else 3)
    handler.save_persistence(result)
    assert handler.find().to_columns("score") == {"animal": ["A"], "score": [0.5]}
    content = {"animal": "A", "score": Touch(touched), "weights": result.weights}
    handler.filepath(result).write_bytes(pickle.dumps(content))
    for each_handler in (handler, PickleHandler(Doubted, tmp_path / "results")):
        assert each_handler.find(animal=lambda name: name == "A").to_columns() == {"animal": ["A"]}
        assert [found.problem for found in each_handler.verify()] == [None]
    for call in (
        lambda: handler.find().to_columns("score"),
        lambda: handler.find().stack("weights"),
        lambda: handler.find(score=0.5).paths,
        lambda: handler.find().first().fields("score"),
        lambda: handler.find().first().load(),
    ):
        with pytest.raises(UntrustedTypeError, match="cache-Doubted-A.*system"):
            call()
    assert not touched.exists()
    PickleHandler(Doubted, tmp_path / "results").find().to_columns("score")
    assert touched.exists(), "who trusts a file runs what is in it"


@persistence_class
class Measured:
    sf: float = field(filename=True, unit="cyc/deg", description="spatial frequency")
    animal: str = field(filename=True)
    rate: Annotated[float, "Hz"]
    weights: np.ndarray = field(init=False, unit="a.u.", description="of each cell")


def test_tables_have_units_and_descriptions(tmp_path):
    """As far as the libraries can hold them: polars can't."""
    handler = PickleHandler(Measured, tmp_path)
    for sf in (0.1, 0.2):
        handler.save_persistence(filled(Measured(sf, "A"), rate=30.0, weights=np.arange(3.0)))
    found = handler.find()
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas("rate")
    assert frame.attrs == {"units": {"sf": "cyc/deg", "rate": "Hz"}, "descriptions": {"sf": "spatial frequency"}}
    assert isinstance(frame, pandas.DataFrame)
    pytest.importorskip("xarray")
    data = found.to_xarray("weights", "rate")
    assert data.weights.attrs == {"units": "a.u.", "long_name": "of each cell"}
    assert (data.rate.attrs, data.sf.attrs) == ({"units": "Hz"}, {"units": "cyc/deg", "long_name": "spatial frequency"})
    assert data.animal.attrs == {}


def test_tables_of_classes_without_units_have_no_attributes(handler):
    """Nothing is added."""
    pytest.importorskip("pandas")
    assert handler.find().to_pandas().attrs == {}
