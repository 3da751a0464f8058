"""The command ``run`` computes missing results, shows its progress, and tells by its exit status how it ended."""

from __future__ import annotations

import csv
import io
import json
import os
import sys

import pytest
from test_computing import process_pool

from neuralib.persistence._commands import executors, running
from neuralib.persistence._commands.entries import UsageError
from neuralib.persistence._commands.entry import main
from neuralib.persistence._computing.report import BatchReport, Failure

MODULE = """
from neuralib.persistence import field, autoinc_field, persistence_class
from neuralib.persistence.cli_persistence import PersistenceOptions

@persistence_class
class Rate:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename=True)
    gain: float = field(validator=True, filename=True, default=0.5)
    run: int = autoinc_field("#")
    value: float

class RateOptions(PersistenceOptions[Rate]):
    animal = "A00"

    def empty_cache(self):
        return Rate(self.animal, 0)

    def compute_cache(self, result):
        if result.plane == 9:
            raise KeyboardInterrupt
        if result.plane == 7:
            raise ValueError("plane 7\\tdoes not converge")
        result.value = result.plane * result.gain
        return result

other = RateOptions()
other.animal = "B00"

class Needy(RateOptions):
    def __init__(self, needed):
        pass
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Change into a folder with a module of options; return where results go."""
    (tmp_path / "lab_of_run.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import os\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    yield tmp_path / "results"
    sys.modules.pop("lab_of_run", None)


def run(*arguments):
    """Return the exit status of the command ``run``."""
    return main(["run", *arguments, "--dest", "results"])


def names(folder):
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def test_run_computes_missing_results(lab, capsys):
    """A grid takes ranges and several values, converted by the annotation; other keys are as in the options."""
    assert run("lab_of_run:RateOptions", "--grid", "plane=0:3,5", "--grid", "gain=0.5,2") == 0
    assert capsys.readouterr().out == "8 saved, 0 failed\n"
    assert len(names(lab)) == 8
    assert "cache-Rate-A00-5-2.0-#0.pkl" in names(lab)
    assert run("lab_of_run:RateOptions", "--grid", "plane=0:3:2", "--grid", "gain=0.5,2", "--repeat", "2") == 0
    assert capsys.readouterr().out == "4 saved, 0 failed\n"
    assert run("lab_of_run:other", "--grid", "animal=B00", "--grid", "animal=C-1", "--grid", "plane=0:10:4") == 0
    assert len(names(lab)) == 8 + 4 + 6
    assert run("lab_of_run:other") == 0
    assert capsys.readouterr().out.endswith("0 saved, 0 failed\n")


def test_a_dry_run_says_what_would_be_computed(lab, capsys):
    """Nothing is computed."""
    assert run("lab_of_run:RateOptions", "--grid", "plane=0:2", "--dry-run", "--share", "1/2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "cache-Rate-A00-1-0.5-#0.pkl",
        "would compute 1 result; nothing was computed",
    ]
    assert run("lab_of_run:RateOptions", "--grid", "plane=0:2", "-n", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["would_compute"]) == 2
    for option in ("--csv", "--csv-safe"):
        assert run("lab_of_run:RateOptions", "--grid", "plane=0:2", "-n", option) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
    assert names(lab) == []


def test_failures_are_a_table_and_the_status_is_1(lab, capsys):
    """The table is text, CSV or JSON."""
    assert run("lab_of_run:RateOptions", "--grid", "plane=6,7,8") == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["animal", "plane", "gain", "run", "error", "message"]
    assert out[1].startswith("A00") and "ValueError" in out[1] and "plane 7\\tdoes not converge" in out[1]
    assert out[2] == "2 saved, 1 failed"
    assert run("lab_of_run:RateOptions", "--grid", "plane=6,7,8", "--csv") == 1
    shown = capsys.readouterr()
    assert shown.err.endswith("0 saved, 1 failed\n")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [(row["plane"], row["error"]) for row in rows] == [("7", "ValueError")]
    assert "compute_cache" in rows[0]["traceback"]
    assert run("lab_of_run:RateOptions", "--grid", "plane=6,7,8", "--json", "--retries", "1") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["saved"], report["not_tried"], report["failures"][0]["keys"]["plane"]) == (0, 0, 7)


def test_ctrl_c_shows_the_report_so_far(lab, capsys):
    """It says how to go on."""
    assert run("lab_of_run:RateOptions", "--grid", "plane=1,9,2") == 130
    assert capsys.readouterr().out == "1 saved, 0 failed, 2 not tried; run it again to go on\n"
    assert len(names(lab)) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("executor", ["threads:2", "processes:2"])
def test_run_takes_an_executor_by_name(lab, capsys, executor):
    """It is shut down afterwards."""
    process_pool("fork").shutdown()
    arguments = ("--grid", "plane=0:5", "--executor", executor, "--claims")
    assert run("lab_of_run:RateOptions", *arguments) == 0
    assert capsys.readouterr().out == "5 saved, 0 failed\n"
    assert len(names(lab)) == 5


def test_names_of_executors_give_their_parameters(monkeypatch, tmp_path):
    """Wrong names are refused."""
    import neuralib.persistence._computing.engines as engines

    calls = []
    monkeypatch.setattr(engines, "ray_executor", lambda **options: calls.append(options))
    monkeypatch.setattr(engines, "submitit_executor", lambda folder, **options: calls.append((folder, options)))
    executors.executor_of("ray")()
    executors.executor_of("ray://head:10001")()
    executors.executor_of("slurm")()
    executors.executor_of("slurm:timeout_min=60,mem_gb=1.5,slurm_partition=short,folder=jobs,jobs=50")()
    default = os.path.join(os.curdir, "slurm-jobs")
    assert calls == [
        {"address": None},
        {"address": "ray://head:10001"},
        (default, {"cluster": "slurm"}),
        ("jobs", {"cluster": "slurm", "timeout_min": 60, "mem_gb": 1.5, "slurm_partition": "short", "jobs": 50}),
    ]
    assert executors.executor_of(None) is None
    assert executors.executor_of("processes")()._max_workers >= 1
    for wrong in ["process:8", "processes:x", "threads:0", "dask", "dask:8786", "slurm:short"]:
        with pytest.raises(UsageError, match=f"--executor {wrong}"):
            executors.executor_of(wrong)


def test_an_executor_that_can_not_be_made_is_named(monkeypatch, lab, capsys):
    """As for a parameter that submitit does not know, or a cluster that does not answer."""
    import neuralib.persistence._computing.engines as engines

    def refuse(folder, **options):
        raise NameError("Parameter 'partition' need to be prefixed by an executor name.")

    monkeypatch.setattr(engines, "submitit_executor", refuse)
    assert run("lab_of_run:other", "--executor", "slurm:partition=short") == 2
    expected = "--executor slurm:partition=short: Parameter 'partition' need to be prefixed by an executor name.\n"
    assert capsys.readouterr().err == f"neuralib-persistence: {expected}"


@pytest.mark.parametrize("engine", ["dask://host:8786", "ray", "slurm:jobs=1"])
def test_an_engine_that_is_not_installed_is_named_with_what_to_install(monkeypatch, lab, capsys, engine):
    """Whether it is an extra of this package or a package of its own."""
    package, install = {
        "dask": ("distributed", "dask[distributed]"),
        "ray": ("ray", "neuralib-persistence[ray]"),
        "slurm": ("submitit", "neuralib-persistence[submitit]"),
    }[engine.partition(":")[0]]
    monkeypatch.setitem(sys.modules, package, None)
    assert run("lab_of_run:other", "--executor", engine) == 2
    assert f'pip install "{install}"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lab_of_run:Nothing"], "lab_of_run:Nothing: AttributeError"),
        (["lab_of_run"], "expected module:Class"),
        (
            ["lab_of_run:Rate"],
            "not options: name a class that inherits from PersistenceOptions[YourResult], not the class of",
        ),
        (["lab_of_run:persistence_class"], "not options"),
        (["no_such_module:Options"], "no_such_module:Options: ModuleNotFoundError: No module named 'no_such_module'\n"),
        (["broken.py:Options"], "broken.py, line 2)"),
        (["lab_of_run:Needy"], "can't be made without arguments"),
        (["lab_of_run:other", "--grid", "planes=3"], "the keys of Rate are animal, plane, gain, run"),
        (["lab_of_run:other", "--grid", "plane=x"], "--grid plane=x: expected a value of type int"),
        (["lab_of_run:other", "--grid", "plane"], "expected key=values"),
        (["lab_of_run:other", "--grid", "plane=5:2"], "--grid plane=5:2: this range is empty"),
        (["lab_of_run:other", "--grid", "plane="], "--grid plane=: expected a value of type int"),
        (["lab_of_run:other", "--share", "4/4"], "--share 4/4: the shares of 4 tasks are 0/4 to 3/4"),
        (["lab_of_run:other", "--share", "flux"], "expected I/N, such as 0/4, or one of slurm, pbs, sge, lsf"),
        (["lab_of_run:other", "--share", "pbs:4"], "PBS_ARRAY_INDEX is not set"),
        (["lab_of_run:other", "--executor", "gpu"], "--executor gpu: expected processes:8"),
        (["lab_of_run:other", "--executor", "threads:1", "--timeout", "1"], "only the main thread"),
    ],
)
def test_wrong_arguments_are_refused_with_a_reason(lab, capsys, arguments, message):
    """Before anything is computed."""
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert names(lab) == []


@pytest.mark.parametrize("arguments", [["--timeout", "0"], ["--timeout", "x"], ["--retries", "-1"], ["--save", "me"]])
def test_values_of_options_are_checked(lab, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run("lab_of_run:other", *arguments)
    assert caught.value.code == 2


def test_progress_tells_what_is_done_and_left(monkeypatch, capsys):
    """In one line of a terminal, which is erased at the end; elsewhere by a line now and then."""
    report = BatchReport(30, [Failure({}, "ValueError", "", "")])
    report.found = 9
    assert running.progress_text(report, 120, 20.0) == "40 of 120 done, 1 failed, 2.0/s, 40 s left"
    assert running.progress_text(BatchReport(3, []), None, 90.0) == "3 done, 2.0/min"
    assert running.progress_text(BatchReport(1, []), 61, 60.0) == "1 of 61 done, 1.0/min, 60 min left"
    assert running.progress_text(BatchReport(1, []), 1000, 3600.0).endswith("999.0 h left")
    assert running.progress_text(BatchReport(0, []), 5, 0.0) == "0 of 5 done"
    monkeypatch.setattr(running, "_LOG_EVERY_S", 0.0)
    shown = running._Progress()
    shown(report, 120)
    shown.end()
    assert capsys.readouterr().err.startswith("40 of 120 done, 1 failed, ")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = running._Progress()
    shown(report, 120)
    shown(report, 120)
    shown.end()
    err = capsys.readouterr().err
    assert err.count("40 of 120") == 1
    assert err.endswith("\r\x1b[K")
