"""Tasks: done once, by another thread or by whoever waits, and never begun once nobody wants them."""

from __future__ import annotations

import _thread
import threading

import pytest
from checks import threads_end

from neuralib.persistence._handlers.tasks import Task


def noting(done):
    def work():
        done.append(_thread.get_ident())
        return 42

    return work


@pytest.fixture
def begun(monkeypatch):
    """Tasks whose threads have not begun: functions that let them."""
    kept = []
    monkeypatch.setattr(_thread, "start_new_thread", lambda work, arguments: kept.append(work))
    return kept


def test_another_thread_does_it():
    """And only once, however often the result is asked for."""
    before, done, finished = _thread._count(), [], threading.Event()

    def work():
        finished.set()
        return noting(done)()

    task = Task(work)
    task.begin()
    assert finished.wait(10)
    assert (task.result(), task.result()) == (42, 42)
    assert len(done) == 1
    assert done != [_thread.get_ident()]
    assert threads_end(before)


def test_who_waits_does_what_no_thread_has_begun(begun):
    """Then the thread, when it begins, finds nothing to do."""
    done = []
    task = Task(noting(done))
    task.begin()
    assert task.result() == 42
    thread = threading.Thread(target=begun[0])
    thread.start()
    thread.join()
    assert done == [_thread.get_ident()]


def test_nobody_begins_what_was_taken(begun):
    """After Ctrl-C, the file that a task would read may be closed."""
    done = []
    task = Task(noting(done))
    task.begin()
    task.take()
    thread = threading.Thread(target=begun[0])
    thread.start()
    thread.join()
    assert done == []


def test_without_threads_it_is_done_all_the_same(monkeypatch):
    """There may be too many already, or none on this platform."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    done = []
    task = Task(noting(done))
    task.begin()
    assert task.result() == 42
    assert done == [_thread.get_ident()]


@pytest.mark.parametrize("begin", [False, True])
def test_an_error_is_raised_where_the_result_is_needed(begin):
    """As it is, Ctrl-C too."""
    error = KeyboardInterrupt()

    def fail():
        raise error

    task = Task(fail)
    if begin:
        task.begin()
    with pytest.raises(KeyboardInterrupt) as caught:
        task.result()
    assert caught.value is error
