"""Tasks of a job array share a batch: together they compute all of it, whenever each lists the results."""

from __future__ import annotations

import pytest
from batches import Draw, DrawOptions, Fit, FitOptions
from hypothesis import given, settings, strategies as st

from neuralib.persistence import PickleHandler
from neuralib.persistence._finding.shares import share_of
from neuralib.persistence.stores import MemoryStore

GRID = {"animal": ["A", "B", "C"], "plane": range(7)}
EVERYTHING = {(animal, plane) for animal in "ABC" for plane in range(7)}
ARRAYS = {  # the variables that each scheduler sets: for task 5 of an array from 3 to 9 in steps of 2; for LSF, task 2 of 1 to 4
    "slurm": {
        "SLURM_ARRAY_TASK_ID": "5",
        "SLURM_ARRAY_TASK_MIN": "3",
        "SLURM_ARRAY_TASK_MAX": "9",
        "SLURM_ARRAY_TASK_STEP": "2",
        "SLURM_ARRAY_TASK_COUNT": "4",
    },
    "sge": {"SGE_TASK_ID": "5", "SGE_TASK_FIRST": "3", "SGE_TASK_LAST": "9", "SGE_TASK_STEPSIZE": "2"},
    "lsf": {"LSB_JOBINDEX": "2", "LSB_JOBINDEX_END": "4", "LSB_JOBINDEX_STEP": "1"},
    "pbs:4": {"PBS_ARRAY_INDEX": "1"},
}


@pytest.fixture
def no_array(monkeypatch):
    """Remove the variables of a scheduler: the tests themselves may run in a job array."""
    for variables in ARRAYS.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)


def filled(template):
    if isinstance(template, Draw):
        template.value = 0.5
    else:
        template.weights, template.pid = None, 0
    return template


def test_a_job_without_tasks_is_told(monkeypatch, no_array):
    """LSF sets the variables of arrays to 0 in other jobs."""
    for name in ARRAYS["lsf"]:
        monkeypatch.setenv(name, "0")
    with pytest.raises(ValueError, match="LSB_JOBINDEX_STEP is '0'; is this process a task of a job array"):
        share_of("lsf")


@settings(max_examples=40)
@given(
    order=st.lists(st.integers(0, 3), max_size=90),
    there=st.lists(st.sampled_from(sorted(EVERYTHING)), max_size=10),
)
def test_tasks_that_look_at_different_times_leave_nothing_out(order, there):
    """A task that lists later finds results of another, and still takes its own share."""
    handler = PickleHandler(Fit, MemoryStore())
    for animal, plane in there:
        handler.save_persistence(filled(Fit(animal, plane)))
    tasks, computed = {}, []
    for task in [*order, *[number for number in range(4) for _ in range(21)]]:  # each task goes on when it is its turn
        todo = tasks.setdefault(task, handler.todo(GRID, share=(task, 4)))
        template = next(todo, None)
        if template is not None:
            computed.append((template.animal, template.plane))
            handler.save_persistence(filled(template))
    assert {(hit.keys["animal"], hit.keys["plane"]) for hit in handler.find()} == EVERYTHING
    assert len(computed) == len(set(computed)), "none twice"
    assert set(computed) == EVERYTHING - set(there)


@settings(max_examples=40)
@given(
    order=st.lists(st.integers(0, 2), max_size=60),
    there=st.sets(st.integers(0, 25), max_size=12),
    repeat=st.integers(0, 15),
)
def test_repetitions_are_shared_exactly(order, there, repeat):
    """By the numbers that they will have: the lowest free ones, whatever was there before."""
    handler = PickleHandler(Draw, MemoryStore())
    for number in there:
        result = filled(Draw("A"))
        result.run = number
        handler.save_persistence(result)
    tasks, computed = {}, 0
    for task in [*order, *[turn for turn in range(3) for _ in range(31)]]:
        todo = tasks.setdefault(task, handler.todo({"animal": ["A", "B"]}, repeat=repeat, share=(task, 3)))
        template = next(todo, None)
        if template is not None:
            computed += 1
            handler.save_persistence(filled(template))
    assert computed == max(repeat - len(there), 0) + repeat
    assert len(handler.find(animal="A")) == max(repeat, len(there))
    assert [hit.keys["run"] for hit in handler.find(animal="B")] == list(range(repeat))


def test_a_batch_computes_its_share(tmp_path):
    """The shares of all tasks together are the batch."""
    saved = [FitOptions().compute_missing(GRID, dest=tmp_path, share=(task, 3)).saved for task in range(3)]
    assert saved == [7, 7, 7]
    repeated = [
        DrawOptions().compute_missing({"animal": ["A"]}, dest=tmp_path, repeat=10, share=(task, 4)).saved
        for task in range(4)
    ]
    assert repeated == [3, 3, 2, 2]


@pytest.mark.usefixtures("no_array")
@pytest.mark.parametrize("share", ARRAYS)
def test_schedulers_tell_the_share_by_their_variables(monkeypatch, tmp_path, share):
    """The numbers of an array may begin anywhere, and have a step."""
    for name, value in ARRAYS[share].items():
        monkeypatch.setenv(name, value)
    assert share_of(share) == (1, 4)
    handler = PickleHandler(Fit, tmp_path)
    assert [template.plane for template in handler.todo({"animal": "A", "plane": range(10)}, share=share)] == [1, 5, 9]


@pytest.mark.usefixtures("no_array")
def test_an_incomplete_array_is_refused(monkeypatch):
    """Otherwise results would be left out: the array has gaps, has no such task, or there is no array."""
    with pytest.raises(ValueError, match=r"SLURM_ARRAY_TASK_ID is not set; is this process a task of a job array\?"):
        share_of("slurm")
    for name, value in ARRAYS["slurm"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")  # --array=3,9
    with pytest.raises(ValueError, match="some results would belong to no task"):
        share_of("slurm")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    with pytest.raises(ValueError, match="some results would belong to no task"):
        share_of("slurm:4")
    monkeypatch.setenv("PBS_ARRAY_INDEX", "4")
    with pytest.raises(ValueError, match="pbs:100"):
        share_of("pbs")
    with pytest.raises(ValueError, match="none of 4 tasks"):  # the array was numbered from 1
        share_of("pbs:4")
    monkeypatch.setenv("SGE_TASK_ID", "undefined")  # LSF sets this for jobs that are no array
    with pytest.raises(ValueError, match="SGE_TASK_ID is 'undefined'"):
        share_of("sge")
    for wrong in [(4, 4), (-1, 4), (0, 0), (0.0, 1), (True, 2)]:
        with pytest.raises(ValueError, match=r"expected \(i, n\)"):
            share_of(wrong)
    for wrong in ["flux", "slurm:", "slurm:0", "pbs:x", ""]:
        with pytest.raises(ValueError, match="'slurm', 'pbs', 'sge', 'lsf'"):
            share_of(wrong)
