"""A real Slurm on this machine computes batches: job arrays, and jobs by submitit. Needs root and Debian's ``slurm-wlm``."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batches import Fit, FitOptions
from stress.killed_batches import Batch, finish

from neuralib.persistence import PickleHandler
from neuralib.persistence.engines import submitit_executor

PROGRAMS = ["munged", "slurmctld", "slurmd", "sinfo", "sbatch"]
SEARCHED = f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"
LACKING = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
IS_ROOT = hasattr(os, "getuid") and os.getuid() == 0
pytestmark = [
    pytest.mark.skipif(bool(LACKING) or not IS_ROOT, reason=f"needs root, and {LACKING or PROGRAMS}"),
    pytest.mark.filterwarnings("ignore"),
]
TESTS = Path(__file__).parents[1]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=1
MessageTimeout=100
TCPTimeout=100
MaxArraySize=11
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for listener in sockets:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment for commands of a running controller and node, which have their own key in a folder that munge trusts."""
    folder = Path("/run") / f"slurm-of-tests-{os.getpid()}"
    folder.mkdir(mode=0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, ports=free_ports(2)))
    environment = {**os.environ, "PATH": SEARCHED, "SLURM_CONF": str(configuration), "PYTHONPATH": str(TESTS)}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    daemons = []
    try:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            time.sleep(0.3)
        end = time.monotonic() + 60
        while b"idle" not in subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True).stdout:
            assert time.monotonic() < end, "Slurm did not start"
            time.sleep(0.2)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


ARRAY = """#!/bin/sh
exec {python} -c "
from batches import FitOptions
print(FitOptions().compute_missing({{'animal': 'AB', 'plane': range(30)}}, None, False, '{results}', share='slurm'))"
"""


def test_the_tasks_of_an_array_share_a_batch(slurm, tmp_path):
    """With any numbers of the array. To replace a cancelled task, submit an array of one."""
    script, results = tmp_path / "array.sh", tmp_path / "results"
    script.write_text(ARRAY.format(python=sys.executable, results=results))
    command = ["sbatch", "--wait", "--array=2-8:2", "-o", str(tmp_path / "out-%a"), str(script)]
    subprocess.run(command, env=slurm, check=True, capture_output=True, timeout=120)
    outputs = sorted(path.read_text() for path in tmp_path.glob("out-*"))
    assert len(outputs) == 4
    assert sum(int(output.split()[1]) for output in outputs) == 30
    assert len(PickleHandler(Fit, results).find()) == 30


@pytest.fixture
def slurm_in_environment(slurm, monkeypatch):
    for name in ("PATH", "SLURM_CONF", "PYTHONPATH"):
        monkeypatch.setenv(name, slurm[name])


def test_batches_finish_whichever_jobs_and_drivers_are_killed(slurm_in_environment, tmp_path, long):
    """Without accounts, the queue tells which jobs were killed."""
    pytest.importorskip("submitit")
    finish(Batch(tmp_path, "slurm"), random.Random(0), most_kills=30 if long else 5)


def test_jobs_by_submitit_stay_within_the_limits_of_the_cluster(slurm_in_environment, tmp_path):
    """No array has more tasks than MaxArraySize allows, however many jobs are wanted."""
    pytest.importorskip("submitit")
    with submitit_executor(
        tmp_path / "jobs", cluster="slurm", jobs=10, poll_s=0.2, chunk_s=1e-9, timeout_min=5, cpus_per_task=1
    ) as executor:
        report = FitOptions().compute_missing(
            {"animal": ["A", "B"], "plane": range(12)}, executor, False, tmp_path / "r"
        )
    assert (report.saved, len(report)) == (24, 0)
    assert len(PickleHandler(Fit, tmp_path / "r").find()) == 24


def test_the_command_computes_by_jobs(slurm, tmp_path):
    """As a user asks for it in a terminal: what fails is a table, and the exit code tells of it.

    With retries, as is advised on a cluster: a busy machine may lose a job.
    """
    pytest.importorskip("submitit")
    grid = ["--grid", "animal=A,B", "--grid", "plane=99:101"]
    executor = "slurm:jobs=2,poll_s=0.2,chunk_s=0.1,timeout_min=2"
    command = ["run", "batches:FitOptions", *grid, "--dest", "results", "--retries", "2", "--executor", executor]
    ran = subprocess.run(
        [sys.executable, "-m", "neuralib.persistence", *command],
        env=slurm, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert "2 saved, 2 failed" in ran.stderr + ran.stdout, ran.stderr + ran.stdout
    assert (ran.stdout + ran.stderr).count("UnpicklableError") == 2
    assert len(PickleHandler(Fit, tmp_path / "results").find(plane=99)) == 2
    assert (tmp_path / "slurm-jobs").is_dir()
