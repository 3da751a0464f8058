"""A process that takes part in a race: ``racer.py ORDER``, with the order as JSON.

It says that it is ready, waits for a line on its input, does what its role is, and prints as one line of JSON what was
acknowledged: for each save the number and what was in it. A reader goes on until its input ends.
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
from stress.ways import go_the_way

from neuralib.persistence import CorruptResultError, GzipHandler, PersistenceHandler, PickleHandler, missing


class PathHandler(PersistenceHandler):
    """With hooks that write by path, in two steps."""

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
SIZES = (3, 3, 30_000, 3, 200)  # words in a result: up to several frames of pickle


def content(name, turn):
    """Return what *name* saves at its *turn*: whole if it ends as it begins."""
    return f"{name}.{turn}|" * SIZES[turn % len(SIZES)]


def token(data):
    """Return who saved *data*, at which turn.

    :raises AssertionError: it is a part of a result, or a mixture of two
    """
    name = data.partition("|")[0]
    assert data == content(*(name.split(".")[0], int(name.split(".")[1]))), f"torn: {data[:50]}… of {len(data)}"
    return name


def opened(order, *, durable=False):
    kind = order.get("handler", "pickle")
    cls = Pair if order["role"].startswith("same") else Run
    if kind == "path":
        return PathHandler(Path(order["folder"]), durable)
    return HANDLERS[kind](cls, order["folder"], durable=durable)


def saves(order, turns, durable=False, handler=None):
    handler = handler or opened(order, durable=durable)
    done = []
    for turn in turns:
        saved = handler.save_persistence(filled(Run("A"), data=content(order["name"], turn)))
        done.append((saved.version, f"{order['name']}.{turn}"))
    return done


def in_threads(order, turns, handler):
    done, problems = [], []

    def work(mine):
        try:
            done.extend(saves(order, mine, handler=handler))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(turns[n::4],)) for n in range(4)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    if problems:
        raise problems[0]
    return done


def batches(order, turns, durable):
    handler = opened(order, durable=durable)
    done = []
    for start in range(0, len(turns), 10):
        group = turns[start : start + 10]
        results = [filled(Run("A"), data=content(order["name"], turn)) for turn in group]
        assert handler.save_all(iter(results)) == len(group)
        done += [(it.version, f"{order['name']}.{turn}") for it, turn in zip(results, group, strict=True)]
    return done


def read(order):
    """Load all, load one, check all, until told to stop."""
    handler = opened(order)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    seen, stopped = 0, False
    while not stopped:
        stopped = stop.is_set()  # then once more: a reader that came late sees what is there at the end
        last = None
        for path, result in handler.load_all(Run("A")):
            token(result.data)
            assert path.name == handler.filename(result)
            last, seen = path, seen + 1
        assert not [it for it in handler.verify() if it.problem]
        if last is not None:
            try:
                token(handler.load_persistence(last).data)
            except FileNotFoundError:
                assert order.get("deleting")
    return [("seen", seen)]


def delete(order, turns):
    """Remove results, whichever."""
    rng = random.Random(order["name"])
    done = []
    for turn in turns:
        names = []
        while not names:  # others are to save many more than are deleted
            names = [it for it in os.listdir(order["folder"]) if it.startswith("cache-")]
        name = rng.choice(names)
        try:
            os.unlink(f"{order['folder']}/{name}")
        except FileNotFoundError:  # the other deleter was first
            continue
        done.append((name, turn))
    return done


def save_same(order, turns):
    handler = opened(order)
    for turn in turns:
        handler.save_persistence(filled(Pair("one", "name"), data=content(order["name"], turn)))
    return [("last", f"{order['name']}.{turns[-1]}")]


def read_same(order):
    handler = opened(order)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    seen, stopped = set(), False
    while not stopped:
        stopped = stop.is_set()  # then once more, as above
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
    "one by one": saves,
    "durable": lambda order, turns: saves(order, turns, durable=True),
    "threads, one handler": lambda order, turns: in_threads(order, turns, opened(order)),
    "threads, a handler each": lambda order, turns: in_threads(order, turns, None),
    "batches": lambda order, turns: batches(order, turns, False),
    "durable batches": lambda order, turns: batches(order, turns, True),
    "delete": delete,
    "read": lambda order, turns: read(order),
    "same: save": save_same,
    "same: read": lambda order, turns: read_same(order),
}


def main():
    order = json.loads(sys.argv[1])
    go_the_way(order.get("way", "unnamed"))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(ROLES[order["role"]](order, list(range(order["count"])))), flush=True)


if __name__ == "__main__":
    main()
