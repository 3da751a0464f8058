"""Tasks: done once, by another thread or by whoever waits, and never begun once nobody wants them."""

from __future__ import annotations

import _thread
import threading
import time

import pytest
from checks import threads_end

from neuralib.persistence._tasks import Task, WorkerPool, read_ahead


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


def test_a_team_ends_with_what_refers_to_it():
    """After Ctrl-C, nobody may be left to end it."""
    before = _thread._count()
    pool = WorkerPool(3)
    begun = threading.Event()
    pool.begin(Task(begun.set))
    assert begun.wait(10)  # who waits for results may be quicker than any thread
    tasks = [Task(lambda n=n: n * n) for n in range(20)]
    for it in tasks:
        pool.begin(it)
    assert [it.result() for it in tasks] == [n * n for n in range(20)]
    del pool
    assert threads_end(before)


def test_reading_ahead_keeps_the_order_and_a_few_items_at_once():
    """However long each takes; errors come where the result is asked for."""
    asked, lock = [], threading.Lock()

    def items():
        for n in range(50):
            asked.append(n)
            yield n

    def read(n):
        if n == 30:
            raise ValueError(n)
        with lock:
            return n * n

    before = _thread._count()
    found = []
    for n, result in read_ahead(3, read, items()):
        assert len(asked) <= n + 6
        try:
            found.append((n, result()))
        except ValueError as error:
            found.append((n, str(error)))
    assert found == [(n, "30" if n == 30 else n * n) for n in range(50)]
    assert threads_end(before)


def test_reading_ahead_ends_early_without_anybody_reading_on():
    """A reader may be in the midst of a file, which is waited for; what nobody began is not read."""
    before, begun, ended, going_on = _thread._count(), [], [], threading.Event()

    def read(n):
        begun.append(n)
        if n:
            going_on.wait(10)
        ended.append(n)

    reading = read_ahead(2, read, range(100))
    _, result = next(reading)
    result()
    next(reading)
    while len(begun) < 3:
        time.sleep(0.001)
    threading.Timer(0.05, going_on.set).start()
    reading.close()
    assert sorted(begun) == sorted(ended)
    assert len(begun) <= 5
    assert threads_end(before)


def test_reading_ahead_without_threads_reads_all_the_same(monkeypatch):
    """There may be too many already."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert [(n, result()) for n, result in read_ahead(4, str, range(9))] == [(n, str(n)) for n in range(9)]
