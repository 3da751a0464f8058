"""Tasks are done once, by another thread or by the one that waits, and are not begun after they were cancelled."""

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
    """Threads that don't begin their tasks until the functions in the returned list are called."""
    kept = []
    monkeypatch.setattr(_thread, "start_new_thread", lambda work, arguments: kept.append(work))
    return kept


def test_a_task_is_done_once_by_another_thread():
    """However often the result is asked for."""
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


def test_the_waiting_thread_does_a_task_that_was_not_begun(begun):
    """The other thread then finds nothing to do."""
    done = []
    task = Task(noting(done))
    task.begin()
    assert task.result() == 42
    thread = threading.Thread(target=begun[0])
    thread.start()
    thread.join()
    assert done == [_thread.get_ident()]


def test_a_cancelled_task_is_never_begun(begun):
    """After Ctrl-C, the file that it would read may be closed."""
    done = []
    task = Task(noting(done))
    task.begin()
    task.take()
    thread = threading.Thread(target=begun[0])
    thread.start()
    thread.join()
    assert done == []


def test_another_thread_may_end_what_this_one_reads_ahead():
    """The garbage collector may do so, in a thread that reads for others: it must not wait for this one."""
    reading = read_ahead(2, lambda item: item, range(9))
    item, first = next(reading)
    assert first(item) == 0
    thread = threading.Thread(target=reading.close, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_without_threads_a_task_is_done_by_the_caller(monkeypatch):
    """There may be too many threads, or none on this platform."""

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
    """The original exception, KeyboardInterrupt too."""
    error = KeyboardInterrupt()

    def fail():
        raise error

    task = Task(fail)
    if begin:
        task.begin()
    with pytest.raises(KeyboardInterrupt) as caught:
        task.result()
    assert caught.value is error


def test_threads_end_when_nothing_refers_to_their_team():
    """After Ctrl-C, nothing else may be left to end them."""
    before = _thread._count()
    pool = WorkerPool(3)
    begun = threading.Event()
    pool.begin(Task(begun.set))
    assert begun.wait(10)  # the waiting thread may otherwise do all tasks itself
    tasks = [Task(lambda n=n: n * n) for n in range(20)]
    for task in tasks:
        pool.begin(task)
    assert [task.result() for task in tasks] == [n * n for n in range(20)]
    del pool
    assert threads_end(before)


def test_reading_ahead_keeps_the_order_and_a_few_items_at_once():
    """However long each item takes. Errors are raised where the item is asked for."""
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
            found.append((n, result(n)))
        except ValueError as error:
            found.append((n, str(error)))
    assert found == [(n, "30" if n == 30 else n * n) for n in range(50)]
    assert threads_end(before)


def test_reading_ahead_ends_early_without_anybody_reading_on():
    """A file that is being read is waited for; files that were not begun are not read."""
    before, begun, ended, going_on = _thread._count(), [], [], threading.Event()

    def read(n):
        begun.append(n)
        if n:
            going_on.wait(10)
        ended.append(n)

    reading = read_ahead(2, read, range(100))
    n, result = next(reading)
    result(n)
    next(reading)
    while len(begun) < 3:
        time.sleep(0.001)
    threading.Timer(0.05, going_on.set).start()
    reading.close()
    assert sorted(begun) == sorted(ended)
    assert len(begun) <= 5
    assert threads_end(before)


def test_what_was_not_begun_is_never_begun_after_reading_ahead_ended(monkeypatch):
    """Else it would begin while those under way are waited for: a save after Ctrl-C, or requests that nobody wants."""
    under_way, taken, last_taken, begun = threading.Semaphore(0), [], threading.Event(), []

    def read(item):
        begun.append(item)
        under_way.release()
        last_taken.wait(10)

    def take(task, plain=Task.take):
        taken.append(task)
        if len(taken) == 3:
            last_taken.set()
        plain(task)

    monkeypatch.setattr(Task, "take", take)
    reading = read_ahead(2, read, range(4))
    next(reading)
    for _ in range(2):
        assert under_way.acquire(timeout=10)
    reading.close()
    assert sorted(begun) == [0, 1]


def test_reading_ahead_works_without_threads(monkeypatch):
    """There may be too many already."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert [(n, result(n)) for n, result in read_ahead(4, str, range(9))] == [(n, str(n)) for n in range(9)]
