"""System calls that are refused, or that succeed and report an error, in the compiled core too.

A C library that is loaded before libc (misreported_calls.c.in) answers in place of the system.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="loads a library before libc's as Linux does"),
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler"),
]

SAVE_EIGHT = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
from checks import Run, filled
from neuralib.persistence import PickleHandler
from neuralib.persistence._stores import system
if len(sys.argv) > 3:
    system.TMPFILE = 0
    def refuse(*_, **__): raise OSError(95, "no links here")
    os.link = refuse
def save(**options):
    handler = PickleHandler(Run, sys.argv[1], **options)
    return [handler.save_persistence(filled(Run("A"), data="x" * n)).version for n in (1, 1, 2_000_000, 1)]
numbers = save() + save(durable=True)
found = [result.version for _, result in PickleHandler(Run, sys.argv[1]).load_all(Run("A"))]
print(json.dumps([numbers, found, sorted(os.listdir(sys.argv[1]))]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    made = tmp_path_factory.mktemp("library") / "misreported_calls.so"
    source = Path(__file__).parent / "misreported_calls.c.in"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", made, "-x", "c", source, "-ldl"], check=True)
    return made


def check_saved(library, folder, *arguments, **settings):
    """Save eight results while *library* answers as *settings* say: they get the numbers 0 to 7, and nothing is left over."""
    environment = {**os.environ, "LD_PRELOAD": str(library), **{name: str(value) for name, value in settings.items()}}
    command = [sys.executable, "-c", SAVE_EIGHT, str(folder), str(Path(__file__).parents[1]), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers, found, names = json.loads(done.stdout)
    assert numbers == found == list(range(8))
    assert names == [f"cache-Run-A-#{n}.pkl" for n in range(8)]


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "EMLINK", "EXDEV"])
def test_without_links_for_files_without_names(library, tmp_path, code):
    """linkat is refused, for files without a name and for others."""
    check_saved(library, tmp_path, FAIL_LINK=getattr(errno, code))


@pytest.mark.parametrize("code", ["EPERM", "EEXIST", "EIO", "ETIMEDOUT"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_link_that_is_reported_failed_was_made(library, tmp_path, code, times):
    """The link was made, so the result is not saved again under the next number."""
    check_saved(library, tmp_path, FAIL_LINK=getattr(errno, code), FAIL_AFTER_CALL=1, FAIL_TIMES=times)


@pytest.mark.parametrize("code", ["EOPNOTSUPP", "EISDIR", "EINVAL", "ENOSYS"])
def test_without_files_that_have_no_name(library, tmp_path, code):
    """With each error by which file systems refuse O_TMPFILE."""
    check_saved(library, tmp_path, FAIL_TMPFILE=getattr(errno, code))


@pytest.mark.parametrize("code", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_without_renames_that_replace_nothing(library, tmp_path, code):
    """Where links fail too, a claim file is the only method left."""
    check_saved(library, tmp_path, "without links", FAIL_RENAME=getattr(errno, code))


@pytest.mark.parametrize("code", ["EEXIST", "EIO", "ENOENT"])
def test_a_rename_that_is_reported_failed_was_made(library, tmp_path, code):
    """Where the answer to a rename was lost, the result is not saved again under the next number."""
    check_saved(library, tmp_path, "without links", FAIL_RENAME=getattr(errno, code), FAIL_AFTER_CALL=1, FAIL_TIMES=3)


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0 or not shutil.which("unshare"), reason="needs root, unshare"
)
def test_without_proc(tmp_path):
    """In a mount namespace with an empty /proc, where a file without a name can't be linked by its descriptor."""
    script = tmp_path / "save_eight.py"
    script.write_text(SAVE_EIGHT)
    folder = tmp_path / "results"
    run = f"mount -t tmpfs none /proc && {sys.executable} {script} {folder} {Path(__file__).parents[1]}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", run], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    numbers, found, names = json.loads(done.stdout)
    assert numbers == found == list(range(8))
    assert len(names) == 8


PRINT_HIDDEN_NAME = "from neuralib.persistence._stores import system; import os; print(os.getpid(), os.uname().nodename, system.hidden_path('.'))"


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0 or not shutil.which("unshare"), reason="needs root, unshare"
)
def test_containers_with_equal_pids_share_no_hidden_names():
    """Two processes have pid 1 on a host of one name: their hidden files have different names."""
    command = ["unshare", "--pid", "--uts", "--fork", sys.executable, "-c", PRINT_HIDDEN_NAME]
    runs = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)]
    if runs[0].returncode:
        pytest.skip(runs[0].stderr.strip())
    first, second = [run.stdout.split() for run in runs]
    assert first[:2] == second[:2] == ["1", os.uname().nodename]
    assert first[2] != second[2]


def test_forked_children_share_no_hidden_names():
    """The names must not come from a random state that the children inherit."""
    script = (
        "import os, random\n"
        "from neuralib.persistence._stores import system\n"
        "random.seed(1); system.hidden_path('.')\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        os.write(1, ''.join(system.hidden_path('.') + '\\n' for _ in range(50)).encode())\n"
        "        os._exit(0)\n"
        "for _ in range(8): os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert len(names) == len(set(names)) == 400
