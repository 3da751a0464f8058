"""Classes and functions for processes that share a bucket."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import numpy as np

from neuralib.persistence import PickleHandler, autoinc_field, field, persistence_class
from neuralib.persistence.cli_persistence import PersistenceOptions
from neuralib.persistence.stores import ObjectStore

QUICK = {"backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=100)}}


@persistence_class(name="BucketShuffle")
class Shuffle:
    animal: str = field(validator=True, filename=True)
    run: int = autoinc_field("#")
    writer: str
    weights: np.ndarray


@persistence_class(name="BucketMap")
class Map:
    animal: str = field(validator=True, filename=True)
    plane: int = field(validator=True, filename=True)
    weights: np.ndarray


class MapOptions(PersistenceOptions[Map]):
    def empty_cache(self):
        return Map("A", 0)

    def compute_cache(self, result):
        if result.plane == 13:
            raise ValueError("no data")
        result.weights = np.full(5, float(result.plane))
        return result


class CountedOptions(MapOptions):
    """Takes some time; each computation leaves a file in the folder *tally*."""

    def __init__(self, tally):
        self.tally = tally

    def compute_cache(self, result):
        (self.tally / f"{result.plane}-{uuid.uuid4().hex}").touch()
        time.sleep(0.01)
        return super().compute_cache(result)


def compute_with_claims(url, tally, planes):
    """Compute what is missing with claims; return how many results were saved, and how many were found."""
    store = ObjectStore(url, retry_config=QUICK)
    report = CountedOptions(tally).compute_missing(
        {"animal": ["A"], "plane": planes}, progress=False, dest=store, claims=True
    )
    assert not report, report
    return report.saved, report.found


def shuffle(writer, animal="A"):
    result = Shuffle(animal)
    result.writer = writer
    result.weights = np.zeros(3)  # the same for all, so the data alone does not show which process saved it
    return result


def save_numbered(url, writer, count, batch=0):
    """Save *count* results, the last *batch* of them by save_all; return their numbers."""
    handler = PickleHandler(Shuffle, ObjectStore(url, retry_config=QUICK))
    results = [shuffle("anybody") for _ in range(count)]
    for result in results[: count - batch]:
        handler.save_persistence(result)
    handler.save_all(results[count - batch :])
    return [result.run for result in results]


def number_found(handler):
    return len(handler.find())
