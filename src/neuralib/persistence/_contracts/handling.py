"""All that a handler does with a store and a codec: save, find, load, verify and delete results."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._classes.convert import results_equal
from neuralib.persistence._classes.decorator import persistence_class
from neuralib.persistence._classes.field import autoinc_field, field, missing
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import NameTakenError
from neuralib.persistence._handlers.pickles import PickleHandler
from neuralib.persistence._messages import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from neuralib.persistence._contracts.subject import Subject
    from neuralib.persistence._handlers.base import PersistenceHandler
    from neuralib.persistence._stores.base import Store

T = TypeVar("T")

WRITERS = 8  # threads


@persistence_class(name="ContractRun")
class Run:
    animal: str = field(validator=True, filename=True)
    number: int = autoinc_field("#")
    value: Any


@persistence_class(name="ContractPair")
class Pair:
    animal: str = field(validator=True, filename=True)
    plane: str = field(validator=True, filename=True)
    value: Any


_new_run: Any = Run  # type checkers take the data for an argument
_new_pair: Any = Pair


def run_threads(work: Callable[[int], T]) -> list[T]:
    """Return what *work* returns in :data:`WRITERS` threads, each with its number."""
    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(work, range(WRITERS)))


def _expect_equal(subject: Subject, what: str, found: object, wanted: object) -> None:
    subject.expect(same_value(found, wanted), "(in a handler)", f"{what} to give {shown(wanted)}", found)


def check_runs(handler: PersistenceHandler[Any], subject: Subject, value: object) -> None:
    """Try numbered results: saving, finding, loading, verifying, deleting."""
    for number in range(3):
        saved = handler.save_persistence(_filled(_new_run("A"), value))
        _expect_equal(subject, "save_persistence", saved.number, number)
    handler.save_all(_filled(_new_run("B"), value) for _ in range(3))
    handler.save_all((_filled(_new_run("A"), value) for _ in range(2)), durable=True)
    _expect_equal(subject, "find", [hit.keys["number"] for hit in handler.find(animal="A")], [0, 1, 2, 3, 4])
    _expect_equal(subject, "latest", [hit.keys["number"] for hit in handler.find().latest()], [4, 2])
    loaded = [result for _, result in handler.load_all(animal=missing)]
    _expect_equal(subject, "load_all", [result.number for result in loaded], [0, 1, 2, 3, 4, 0, 1, 2])
    for result in loaded:
        _expect_equal(subject, "load_all", result.value, value)
    problems = [found.problem for found in handler.verify() if found.problem is not None]
    _expect_equal(subject, "verify", problems, [])
    wanted = [template.animal for template in handler.todo([_new_run("A"), _new_run("C")], repeat=5)]
    _expect_equal(subject, "todo", wanted, ["C"] * 5)
    _expect_equal(subject, "to_columns", handler.find(animal="B").to_columns()["number"], [0, 1, 2])
    _expect_equal(subject, "delete", len(handler.find(animal="A").delete(dry_run=False)), 5)
    _expect_equal(subject, "find", len(handler.find(animal="A")), 0)
    handler.sweep()


def check_pairs(handler: PersistenceHandler[Any], subject: Subject, values: Iterable[object]) -> None:
    """Try results without numbers, which are replaced."""
    for number, value in enumerate(values):
        result = _filled(_new_pair("A", str(number)), value)
        for _ in range(2):
            handler.save_persistence(result)
        for loaded in (
            handler.load_persistence(_new_pair("A", str(number))),
            handler.load_persistence({"animal": "A", "plane": str(number)}),
            handler.find(plane=str(number))[0].load(),
        ):
            subject.expect(
                results_equal(loaded, result),
                "(in a handler)",
                f"the result that was saved, with the value {shown(value)}",
                getattr(loaded, "value", None),
            )
    # Two results of one name: the second must not take the place of the first.
    handler.save_persistence(_filled(_new_pair("X-Y", "Z"), 1))
    taken = _filled(_new_pair("X", "Y-Z"), 2)
    subject.raises(
        NameTakenError, "(in a handler)", "for other keys of one name", lambda: handler.save_persistence(taken)
    )


def check_numbers(store: Store, subject: Subject) -> None:
    """Let threads save numbered results, each with a handler of its own: no two get one number."""
    barrier = threading.Barrier(WRITERS)

    def save(writer: int) -> list[int]:
        barrier.wait()
        handler = PickleHandler(Run, store)
        return [handler.save_persistence(_filled(_new_run("race"), writer)).number for _ in range(10)]

    numbers = sorted(itertools.chain(*run_threads(save)))
    _expect_equal(subject, "numbered saves of 8 threads", numbers, list(range(10 * WRITERS)))


def _filled(result: Any, value: object) -> Any:
    result.value = value
    return result
