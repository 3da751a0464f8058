"""Races: racers are started, let go together, and what they acknowledged is compared with what is there."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from checks import Pair, Run
from stress.racer import opened, token

from neuralib.persistence._stores import system

RACER = str(Path(__file__).parent / "racer.py")


class Racer:
    """One process of a race."""

    def __init__(self, **order: Any) -> None:
        self.order = order
        command = [sys.executable, RACER, json.dumps({**order, "folder": str(order["folder"])})]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_until_ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def outcome(self) -> list[Any]:
        """Return what it acknowledged; it must end well."""
        self.process.stdin.close()
        said = self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait() == 0, f"failed: {self.order}"
        return json.loads(said)


def race(orders: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Let all racers go at the same time; return what each acknowledged, by name. Readers are stopped last."""
    racers = [Racer(name=f"{number}", **order) for number, order in enumerate(orders)]
    try:
        for it in racers:
            it.wait_until_ready()
        for it in racers:
            it.go()
        readers = [it for it in racers if "read" in it.order["role"]]
        found = {it.order["name"]: it.outcome() for it in racers if it not in readers}
        return found | {it.order["name"]: it.outcome() for it in readers}
    finally:
        for it in racers:
            it.process.kill()
            it.process.wait()
            it.process.stdin.close()
            it.process.stdout.close()


def check_numbered(folder: Path, saved: list[tuple[int, str]], expected: int, handler: str = "pickle") -> None:
    """Exactly *expected* results, numbered from 0 on, each with the content of its one acknowledged save."""
    assert len(saved) == expected
    assert sorted(number for number, _ in saved) == list(range(expected))
    assert len({it for _, it in saved}) == expected
    found = list(opened({"role": "", "folder": folder, "handler": handler}).load_all(Run("A")))
    assert [(it.version, token(it.data)) for _, it in found] == sorted(map(tuple, saved))
    assert len(os.listdir(folder)) == expected, "nothing else is left"


def check_deleted(folder: Path, saved: list[tuple[int, str]], deleted: list[tuple[str, int]]) -> None:
    """What was saved and not deleted is there, once, under the number that was acknowledged."""
    found = list(opened({"role": "", "folder": folder}).load_all(Run("A")))
    here = [(it.version, token(it.data)) for _, it in found]
    assert set(here) <= set(map(tuple, saved))
    assert len(here) == len(saved) - len(deleted)
    gone = collections.Counter(number for number, _ in saved) - collections.Counter(number for number, _ in here)
    assert gone == collections.Counter(int(name.partition("#")[2].partition(".")[0]) for name, _ in deleted)
    assert not [it for it in os.listdir(folder) if it.startswith(system.LEFTOVER_PREFIX)]


def check_replaced(folder: Path, saved: list[tuple[str, str]]) -> None:
    """One result under the one name: the last of somebody's."""
    ((path, found),) = opened({"role": "same", "folder": folder}).load_all(Pair("one", "name"))
    assert token(found.data) in {it for _, it in saved}
    assert path.name == "cache-Pair-one-name.pkl"
