"""Runs several racers at the same time, and compares the saves that returned with the results that are there."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from checks import Pair, Run
from stress.racer import handler_of, token

from neuralib.persistence._stores import system

RACER = str(Path(__file__).parent / "racer.py")


class Racer:
    """One process of a race, started but waiting."""

    def __init__(self, **order: Any) -> None:
        self.order = order
        command = [sys.executable, RACER, json.dumps({**order, "folder": str(order["folder"])})]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def start(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def outcome(self) -> list[Any]:
        """Return what it reported; check that it ended without error."""
        self.process.stdin.close()
        output = self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait() == 0, f"failed: {self.order}"
        return json.loads(output)


def race(orders: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Run all racers at the same time; return what each reported, by its number as text. Readers are stopped last."""
    racers = [Racer(name=f"{number}", **order) for number, order in enumerate(orders)]
    try:
        for racer in racers:
            racer.wait_until_ready()
        for racer in racers:
            racer.start()
        readers = [racer for racer in racers if "read" in racer.order["role"]]
        found = {racer.order["name"]: racer.outcome() for racer in racers if racer not in readers}
        return found | {racer.order["name"]: racer.outcome() for racer in readers}
    finally:
        for racer in racers:
            racer.process.kill()
            racer.process.wait()
            racer.process.stdin.close()
            racer.process.stdout.close()


def check_numbered(folder: Path, saved: list[tuple[int, str]], expected: int, handler: str = "pickle") -> None:
    """Check that there are *expected* results, numbered from 0 on, each with the content that was saved under its number."""
    assert len(saved) == expected
    assert sorted(number for number, _ in saved) == list(range(expected))
    assert len({saved_token for _, saved_token in saved}) == expected
    found = list(handler_of({"role": "", "folder": folder, "handler": handler}).load_all(Run("A")))
    assert [(result.version, token(result.data)) for _, result in found] == sorted(map(tuple, saved))
    # libfuse renames a file that is removed while it is open, and the kernel tells it late that it was closed.
    deadline = time.monotonic() + 5
    while any(name.startswith(".fuse_hidden") for name in os.listdir(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir(folder)) == expected, f"nothing else is left: {sorted(os.listdir(folder))[:4]}"


def check_deleted(folder: Path, saved: list[tuple[int, str]], deleted: list[tuple[str, int]]) -> None:
    """Check that each result that was saved and not deleted is there once, under the number that its save returned."""
    found = list(handler_of({"role": "", "folder": folder}).load_all(Run("A")))
    present = [(result.version, token(result.data)) for _, result in found]
    assert set(present) <= set(map(tuple, saved))
    assert len(present) == len(saved) - len(deleted)
    gone = collections.Counter(number for number, _ in saved) - collections.Counter(number for number, _ in present)
    assert gone == collections.Counter(int(name.partition("#")[2].partition(".")[0]) for name, _ in deleted)
    assert not [name for name in os.listdir(folder) if name.startswith(system.LEFTOVER_PREFIX)]


def check_replaced(folder: Path, saved: list[tuple[str, str]]) -> None:
    """Check that there is one result, and that it is whole: the last one of some racer."""
    ((path, found),) = handler_of({"role": "same", "folder": folder}).load_all(Pair("one", "name"))
    assert token(found.data) in {saved_token for _, saved_token in saved}
    assert path.name == "cache-Pair-one-name.pkl"
