"""One of several processes that use a folder at the same time: ``racer.py ORDER``, with the order as JSON.

It prints "ready", waits for a line on its input, does what its role says, and prints one line of JSON: for each save that
returned, the number and the token of the content. A reader goes on until its input ends.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from checks import Pair, Run, filled
from stress.publishing import publish_by

from neuralib.persistence import CorruptResultError, GzipHandler, PersistenceHandler, PickleHandler, missing


class PathHandler(PersistenceHandler):
    """A user's handler, whose hook writes to a path, in two steps."""

    persistence_class = Run
    save_root = None

    def __init__(self, root, durable=False):
        self.save_root = root
        self.durable = durable

    def _save_persistence(self, result, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{result.version} ")
            file.flush()
            file.write(result.data)

    def _load_persistence(self, path):
        version, _, data = path.read_text(encoding="utf-8").partition(" ")
        return filled(Run("A", int(version)), data=data)


HANDLERS = {"pickle": PickleHandler, "gzip": GzipHandler}
SIZES = (3, 3, 30_000, 3, 200)  # repetitions in a result: small ones, and some that take several frames of pickle


def content(name, turn):
    """Return what the racer *name* saves at its *turn*: its token, repeated, so that a partial or mixed text shows."""
    return f"{name}.{turn}|" * SIZES[turn % len(SIZES)]


def token(data):
    """Return the token of *data*: the racer that saved it, and its turn.

    :raises AssertionError: *data* is a part of a result, or a mixture of two
    """
    name = data.partition("|")[0]
    assert data == content(*(name.split(".")[0], int(name.split(".")[1]))), f"torn: {data[:50]}… of {len(data)}"
    return name


def handler_of(order, *, durable=False):
    """Return the handler that *order* describes."""
    kind = order.get("handler", "pickle")
    cls = Pair if order["role"].startswith("same") else Run
    if kind == "path":
        return PathHandler(Path(order["folder"]), durable)
    return HANDLERS[kind](cls, order["folder"], durable=durable)


def save_each(order, turns, durable=False, handler=None):
    handler = handler or handler_of(order, durable=durable)
    done = []
    for turn in turns:
        saved = handler.save_persistence(filled(Run("A"), data=content(order["name"], turn)))
        done.append((saved.version, f"{order['name']}.{turn}"))
    return done


def save_in_threads(order, turns, handler):
    """Save by four threads, which share *handler* or, if it is None, have one each."""
    done, problems = [], []

    def work(own_turns):
        try:
            done.extend(save_each(order, own_turns, handler=handler))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(turns[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return done


def save_in_batches(order, turns, durable):
    handler = handler_of(order, durable=durable)
    done = []
    for start in range(0, len(turns), 10):
        group = turns[start : start + 10]
        results = [filled(Run("A"), data=content(order["name"], turn)) for turn in group]
        assert handler.save_all(iter(results)) == len(group)
        done += [(result.version, f"{order['name']}.{turn}") for result, turn in zip(results, group, strict=True)]
    return done


def read(order):
    """Load all, check all and load one, again and again until the input ends."""
    handler = handler_of(order)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    seen, stopped = 0, False
    while not stopped:
        stopped = stop.is_set()  # after the stop, one round more: it sees everything
        last = None
        for path, result in handler.load_all(Run("A")):
            token(result.data)
            assert path.name == handler.filename(result)
            last, seen = path, seen + 1
        assert not [check for check in handler.verify() if check.problem]
        if last is not None:
            try:
                token(handler.load_persistence(last).data)
            except FileNotFoundError:
                assert order.get("deleting")
    return [("seen", seen)]


def delete(order, turns):
    """Remove a random result at each turn."""
    rng = random.Random(order["name"])
    done = []
    for turn in turns:
        names = []
        while not names:  # the others save more than is deleted here
            names = [name for name in os.listdir(order["folder"]) if name.startswith("cache-")]
        name = rng.choice(names)
        try:
            os.unlink(f"{order['folder']}/{name}")
        except FileNotFoundError:  # another process deleted it first
            continue
        done.append((name, turn))
    return done


def save_same(order, turns):
    handler = handler_of(order)
    for turn in turns:
        handler.save_persistence(filled(Pair("one", "name"), data=content(order["name"], turn)))
    return [("last", f"{order['name']}.{turns[-1]}")]


def read_same(order):
    handler = handler_of(order)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    seen, stopped = set(), False
    while not stopped:
        stopped = stop.is_set()  # after the stop, one round more
        problems = []
        try:
            seen.add(token(handler.load_persistence(Pair("one", "name")).data))
            for _, result in handler.load_all(a=missing, b=missing, on_corrupt=problems.append):
                seen.add(token(result.data))
        except FileNotFoundError:
            assert not seen or order.get("stale"), "a result that is replaced is there all the time"
        except CorruptResultError as error:
            problems.append(error)
        assert not problems or order.get("stale"), problems
    return [("seen", len(seen))]


ROLES = {
    "one by one": save_each,
    "durable": lambda order, turns: save_each(order, turns, durable=True),
    "threads, one handler": lambda order, turns: save_in_threads(order, turns, handler_of(order)),
    "threads, a handler each": lambda order, turns: save_in_threads(order, turns, None),
    "batches": lambda order, turns: save_in_batches(order, turns, False),
    "durable batches": lambda order, turns: save_in_batches(order, turns, True),
    "delete": delete,
    "read": lambda order, turns: read(order),
    "same: save": save_same,
    "same: read": lambda order, turns: read_same(order),
}


def main():
    order = json.loads(sys.argv[1])
    publish_by(order.get("publishing", "unnamed"))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(ROLES[order["role"]](order, list(range(order["count"])))), flush=True)


if __name__ == "__main__":
    main()
