"""A name that is taken is never overwritten by a new result, whatever the file system lacks or reports wrongly."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading

import pytest
from checks import Pair, Run, filled

from neuralib.persistence import GzipHandler, PickleHandler, load
from neuralib.persistence._stores import exclusive, system
from neuralib.persistence._stores.folder import FolderStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a rename is exclusive there")

SMALL, LARGE = b"small", b"x" * 3_000_000
CLAIM = f"{system.LEFTOVER_PREFIX}claim-"


def publish(root, name, data, *, over=False, draft=None):
    draft = draft or FolderStore(str(root)).draft()
    try:
        if not draft.size:
            draft.write(data)
        (draft.publish_over if over else draft.publish_new)(name)
    finally:
        draft.discard()


def refusing(code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    return refuse


def forgetful(call, code, *, only=1):
    """Return *call* with lost answers: it succeeds, and then raises."""
    turns = []

    def lose(*arguments, **options):
        done = call(*arguments, **options)
        turns.append(arguments)
        if len(turns) <= only:
            raise OSError(code, os.strerror(code))
        return done

    return lose


def check_published(root):
    """Publish under a new name, under a taken one (refused), and as a replacement; check that nothing is left over."""
    for name, data in [("a", SMALL), ("b", LARGE)]:
        publish(root, name, data)
        with pytest.raises(FileExistsError):
            publish(root, name, b"second")
        assert (root / name).read_bytes() == data
        publish(root, name, data + b"third", over=True)
        assert (root / name).read_bytes() == data + b"third"
    assert sorted(os.listdir(root)) == ["a", "b"]


@pytest.fixture
def hidden(monkeypatch):
    """Without files that have no name."""
    monkeypatch.setattr(system, "TMPFILE", 0)


@pytest.fixture
def claims(monkeypatch, hidden):
    """Without links, and without renames that replace nothing, so that claim files are used."""
    monkeypatch.setattr(os, "link", refusing(errno.EOPNOTSUPP))
    monkeypatch.setattr(exclusive._disk, "rename_exclusively", lambda *_: False)


# ------------------------------------------------------------------------------------------ what is not there


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "EMLINK", "ENOSYS", "EINVAL", "EXDEV", "EACCES", "ENOENT"])
@pytest.mark.parametrize("durable", [False, True])
def test_files_without_names_that_cannot_be_linked_are_copied(tmp_path, monkeypatch, code, durable):
    """The file system has O_TMPFILE but no links, or /proc is not mounted."""
    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: None)
    monkeypatch.setattr(os, "link", refusing(getattr(errno, code)))
    if code == "ENOENT":  # only linking through /proc raises it
        monkeypatch.setattr(exclusive, "rename_exclusively", lambda *them: os.rename(*them))
        publish(tmp_path, "a", LARGE)
        assert (tmp_path / "a").read_bytes() == LARGE
        return
    check_published(tmp_path)
    handler = GzipHandler(Run, tmp_path / "new" / "folder", durable=durable)
    assert [handler.save_persistence(filled(Run("A"), data=n)).version for n in range(3)] == [0, 1, 2]
    assert [result.data for _, result in handler.load_all(Run("A"))] == [0, 1, 2]


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "EMLINK"])
@pytest.mark.parametrize("answer", ["not known", "EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_without_links_and_exclusive_renames_a_claim_decides(tmp_path, monkeypatch, hidden, code, answer):
    """Some file systems in user space lack both."""
    monkeypatch.setattr(os, "link", refusing(getattr(errno, code)))
    rename = (lambda *_: False) if answer == "not known" else refusing(getattr(errno, answer))
    monkeypatch.setattr(exclusive._disk, "rename_exclusively", rename)
    check_published(tmp_path)


def test_without_files_that_have_no_name_a_hidden_one_is_used(tmp_path, monkeypatch):
    """The file system has no O_TMPFILE, or /proc is not mounted."""
    opened = system._disk.OpenFile

    def no_unnamed(path, flags, mode=0o666):
        if system.TMPFILE and flags & system.TMPFILE == system.TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no such files")
        return opened(path, flags, mode)

    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: None)
    with monkeypatch.context() as patch:
        patch.setattr(system._disk, "OpenFile", no_unnamed)
        patch.setattr(system._disk, "write_unnamed", lambda *_: None)
        check_published(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(system, "_proc_is_there", lambda: False)
    check_published(tmp_path / "without proc")


# ------------------------------------------------------------------------------------------ what is answered


@pytest.mark.parametrize("tmpfile", [system.TMPFILE, 0])
@pytest.mark.parametrize("code", ["EPERM", "EACCES", "EIO"])
def test_a_lost_race_is_recognised_by_any_error(tmp_path, monkeypatch, tmpfile, code):
    """sshfs raises EPERM if the name is taken."""
    monkeypatch.setattr(system, "TMPFILE", tmpfile)
    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: None)
    (tmp_path / "x").write_bytes(b"theirs")
    monkeypatch.setattr(os, "link", refusing(getattr(errno, code)))
    monkeypatch.setattr(exclusive._disk, "rename_exclusively", refusing(getattr(errno, code)))
    with pytest.raises(FileExistsError):
        publish(tmp_path, "x", b"mine")
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("tmpfile", [system.TMPFILE, 0])
@pytest.mark.parametrize("code", ["EEXIST", "EPERM", "EIO", "ENOENT", "ETIMEDOUT"])
def test_an_answer_that_is_lost_is_no_failure(tmp_path, monkeypatch, tmpfile, code):
    """A request is repeated after a lost answer, and then fails, though the link, rename or replacement was made."""
    code = getattr(errno, code)
    monkeypatch.setattr(system, "publish_whole", lambda *_, **__: None)
    monkeypatch.setattr(system, "TMPFILE", tmpfile)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", forgetful(os.link, code))
        publish(tmp_path, "link", b"mine")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", forgetful(os.replace, code))
        publish(tmp_path, "link", b"replaced", over=True)
    assert (tmp_path / "link").read_bytes() == b"replaced"
    monkeypatch.setattr(os, "link", refusing(errno.EOPNOTSUPP))
    with monkeypatch.context() as patch:
        patch.setattr(exclusive._disk, "rename_exclusively", forgetful(exclusive._disk.rename_exclusively, code))
        publish(tmp_path, "rename", b"mine")
    assert sorted(os.listdir(tmp_path)) == ["link", "rename"]


@pytest.mark.parametrize("turn", range(1, 4))
@pytest.mark.parametrize("code", ["ENOENT", "EIO"])
def test_under_a_claim_a_lost_answer_loses_no_draft(tmp_path, monkeypatch, claims, turn, code):
    """Of three renames, one is done and reported as failed. The file is saved, or an error is raised and nothing is left."""
    calls = []
    rename = os.rename

    def lose(*them):
        rename(*them)
        calls.append(them)
        if len(calls) == turn:
            raise OSError(getattr(errno, code), "lost the answer")

    monkeypatch.setattr(os, "rename", lose)
    try:
        publish(tmp_path, "x", b"mine")
    except OSError as error:
        assert error.errno == errno.EIO
        assert turn < 3 or not (tmp_path / "x").exists()
    else:
        assert (tmp_path / "x").read_bytes() == b"mine"
    assert set(os.listdir(tmp_path)) <= {"x"}


def test_a_former_file_that_was_moved_aside_is_replaced_at_the_next_try(tmp_path, monkeypatch):
    """sshfs fails so if two mounts replace one name. A missing folder is an error at once."""
    publish(tmp_path, "x", b"former")
    replace, turns = os.replace, []

    def missed(source, target):
        turns.append(target)
        if len(turns) < 4:
            raise FileNotFoundError(errno.ENOENT, "moved aside", target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", missed)
    publish(tmp_path, "x", b"mine", over=True)
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert len(turns) == 4
    turns.clear()
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    with pytest.raises(FileNotFoundError):
        publish(tmp_path, "x", b"more", over=True)
    assert len(turns) == 1


def test_a_refusal_whose_reason_is_gone_is_no_lack_of_links(tmp_path, monkeypatch, hidden):
    """The file that had the name is removed before anybody looks. Then a claim file must not be used: others don't respect it."""
    link, turns = os.link, []

    def lost_once(source, target, **options):
        turns.append(target)
        if len(turns) == 1:
            raise OSError(errno.EPERM, "not permitted")
        return link(source, target, **options)

    monkeypatch.setattr(os, "link", lost_once)
    monkeypatch.setattr(exclusive._disk, "rename_exclusively", lambda *_: pytest.fail("there are links"))
    publish(tmp_path, "x", b"mine")
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["x"]


def test_a_hidden_name_that_cannot_be_removed_is_no_failure(tmp_path, monkeypatch, hidden):
    """The result has its name. An error would make the caller save it again, under another number."""
    handler = PickleHandler(Run, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refusing(errno.EIO))
        assert handler.save_persistence(filled(Run("A"), data="first")).version == 0
    assert handler.save_persistence(filled(Run("A"), data="second")).version == 1
    assert [result.data for _, result in handler.load_all(Run("A"))] == ["first", "second"]
    assert len(handler.sweep(older_than_s=-60)) == 1
    assert [result.data for _, result in handler.load_all(Run("A"))] == ["first", "second"]


# ------------------------------------------------------------------------------------------ claims


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path, monkeypatch, claims):
    """After some time. The file in it is a leftover like others."""
    monkeypatch.setattr(exclusive, "_STALE_CLAIM_S", 0.1)
    entered, rename = [], os.rename

    def note(source, target):
        if os.path.basename(target).startswith(CLAIM):
            entered.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", note)
        publish(tmp_path, "x", b"first")
    claim = entered[0]
    os.unlink(tmp_path / "x")
    os.mkdir(claim)
    with open(f"{claim}/{system.LEFTOVER_PREFIX}0123456789abcdef", "wb") as file:
        file.write(b"theirs")
    publish(tmp_path, "x", b"mine")
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == [f"{system.LEFTOVER_PREFIX}0123456789abcdef", "x"]
    assert FolderStore(str(tmp_path)).sweep(-60) == [f"{system.LEFTOVER_PREFIX}0123456789abcdef"]
    os.mkdir(claim)  # killed between publishing and removing the claim
    publish(tmp_path, "y", b"other")
    publish(tmp_path, "x", b"again", over=True)
    assert FolderStore(str(tmp_path)).sweep(-60) == [os.path.basename(claim)]


@pytest.mark.parametrize("others", [1, 4])
def test_a_holder_that_sleeps_overwrites_nothing_when_it_wakes(tmp_path, monkeypatch, claims, others):
    """Its claim was taken over between its look at the target and its rename."""
    monkeypatch.setattr(exclusive, "_STALE_CLAIM_S", 0.1)
    asleep, wake = threading.Event(), threading.Event()
    rename, sleeper = os.rename, []

    def sleepy(source, target):
        if threading.get_ident() in sleeper and os.path.basename(target) == "x" and not wake.is_set():
            asleep.set()
            wake.wait(20)
        rename(source, target)

    monkeypatch.setattr(os, "rename", sleepy)
    outcomes = {}

    def work(data):
        if data == b"sleeper":
            sleeper.append(threading.get_ident())
        try:
            publish(tmp_path, "x", data)
        except FileExistsError:
            outcomes[data] = "taken"
        else:
            outcomes[data] = "published"

    slow = threading.Thread(target=work, args=(b"sleeper",))
    slow.start()
    assert asleep.wait(20)
    fast = [threading.Thread(target=work, args=(b"other %d" % n,)) for n in range(others)]
    for thread in fast:
        thread.start()
    for thread in fast:
        thread.join()
    winner = (tmp_path / "x").read_bytes()
    assert outcomes.pop(winner) == "published"
    assert set(outcomes.values()) <= {"taken"}
    wake.set()
    slow.join()
    assert outcomes[b"sleeper"] == "taken"
    assert (tmp_path / "x").read_bytes() == winner
    assert os.listdir(tmp_path) == ["x"]


def test_a_holder_that_slept_still_saves_where_nobody_came(tmp_path, monkeypatch, claims):
    """Its file was moved out of the claim, but not deleted."""
    rename, robbed = os.rename, []

    def rob_once(source, target):
        if os.path.basename(target) == "x" and not robbed:
            robbed.append(source)
            rename(source, tmp_path / os.path.basename(source))
        rename(source, target)

    monkeypatch.setattr(os, "rename", rob_once)
    publish(tmp_path, "x", b"mine")
    assert robbed
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["x"]


def test_of_many_who_would_empty_a_stale_claim_one_wins(tmp_path, monkeypatch, claims):
    """A second process that found the claim stale must not take the claim that the first one made."""
    monkeypatch.setattr(exclusive, "_STALE_CLAIM_S", 0.02)
    name = os.path.join(str(tmp_path), "x")
    claims_seen = set()
    enter = exclusive._enter_claim

    def slow_enter(own, claim, folder):
        claims_seen.add(claim)
        enter(own, claim, folder)

    monkeypatch.setattr(exclusive, "_enter_claim", slow_enter)
    publish(tmp_path, "x", b"")
    (claim,) = claims_seen
    for turn in range(10):
        os.unlink(name)
        os.mkdir(claim)
        with open(f"{claim}/{system.LEFTOVER_PREFIX}dead{turn}", "wb"):
            pass
        won, lost = [], []

        def work(data, won=won, lost=lost):
            try:
                publish(tmp_path, "x", data)
            except FileExistsError:
                lost.append(data)
            else:
                won.append(data)

        threads = [threading.Thread(target=work, args=(b"%d of %d" % (n, turn),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert len(lost) == 5
        assert (tmp_path / "x").read_bytes() == won[0]


def test_a_claim_that_is_no_claim_is_not_emptied(tmp_path, monkeypatch, claims):
    """If another folder has such a name, its files stay, and the error of the save says why."""
    monkeypatch.setattr(exclusive, "_STALE_CLAIM_S", 0.02)
    claim = tmp_path / f"{CLAIM}8cdc1683"
    claim.mkdir()
    (claim / "thesis").write_text("months of work")
    with pytest.raises(OSError, match="holds what no save put there"):
        publish(tmp_path, "x", b"mine")
    assert (claim / "thesis").read_text() == "months of work"
    assert os.listdir(tmp_path) == [claim.name]


def test_ctrl_c_while_a_draft_is_brought_back_leaves_nothing(tmp_path, monkeypatch, claims):
    """The name is taken, and Ctrl-C comes before the file has left the claim."""
    enter = exclusive._enter_claim

    def entered(*arguments):
        enter(*arguments)
        (tmp_path / "name").write_bytes(SMALL)  # by a process that makes no claim

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exclusive, "_enter_claim", entered)
    monkeypatch.setattr(exclusive, "_moved_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "name", b"other")
    gc.collect()
    assert os.listdir(tmp_path) == ["name"]
    assert (tmp_path / "name").read_bytes() == SMALL


def test_long_names_share_claims_at_worst(tmp_path, claims):
    """Names of 255 bytes, in any script: the claim's name is shortened, and fits."""
    publish(tmp_path, "ü" * 127, b"1")
    publish(tmp_path, "ü" * 126 + "ab", b"2")
    assert len(os.listdir(tmp_path)) == 2


# ------------------------------------------------------------------------------------------ the rest


def test_a_result_is_replaced_whatever_the_system_lacks(tmp_path, claims):
    """Its keys are compared before."""
    handler = PickleHandler(Pair, tmp_path)
    for data in ("first", "second"):
        handler.save_persistence(filled(Pair(1, 2), data=data))
    assert load(Pair, handler.filepath(Pair(1, 2))).data == "second"
    assert len(os.listdir(tmp_path)) == 1


def test_what_comes_into_a_leftover_while_it_is_swept_stays(tmp_path, monkeypatch):
    """Another process may take over a stale claim while it is removed."""
    claim = tmp_path / f"{CLAIM}00000000"
    claim.mkdir()
    (claim / f"{system.LEFTOVER_PREFIX}dead").write_bytes(b"")
    unlink = os.unlink

    def taken_over(path, **options):
        unlink(path, **options)
        (claim / "alive").write_bytes(b"theirs")

    monkeypatch.setattr(os, "unlink", taken_over)
    assert FolderStore(str(tmp_path)).sweep(-60) == []
    assert os.listdir(claim) == ["alive"]


def test_hidden_names_differ_whatever_processes_share(monkeypatch):
    """Machines, containers or children may share pid, host name, time and random seeds."""
    import random
    import time

    random.seed(0)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "uname", lambda: ("same",) * 5)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert len({system.hidden_path("x") for _ in range(10_000)}) == 10_000
