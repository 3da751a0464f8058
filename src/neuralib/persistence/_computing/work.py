"""What is done with one template: look whether it is there, compute, save. It runs where the engine computes, or here."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._computing.claims import Claims
from neuralib.persistence._computing.computed import computed, refuse_other_keys
from neuralib.persistence._computing.limits import CannotStopError, at_most
from neuralib.persistence._computing.report import Failure, failure_of
from neuralib.persistence._finding.todo import is_there
from neuralib.persistence._keeping.identity import keys_in_name
from neuralib.persistence._stores.folder import STALE_AFTER_S

if TYPE_CHECKING:
    from neuralib.persistence._computing.computed import Computing
    from neuralib.persistence._handlers.base import PersistenceHandler

SAVED, THERE, LATE, CLAIMED = "saved", "there", "late", "claimed"
"""What may become of a template, besides a failure: it was computed and saved; its result was there before it was computed;
others saved it while it was computed; another batch is computing it."""


class Computed(NamedTuple):
    """A result that the driver has to save."""

    result: Any


Outcome = str | Failure | Computed


class Work:
    """Computes templates and saves their results.

    :param options: how results are computed, and which handler keeps them
    :param dest: where, as the options' ``persistence_handler`` takes it
    :param claims: whether to pass over what another batch is computing
    :param timeout_s: how long each may take
    :param saves: whether results are saved where they are computed
    """

    leaves_claims = False
    """Whether the driver releases claims when it has the answer. If an engine repeats a task whose worker was lost, the claim that is still
    there shows that the result was saved by this batch."""

    def __init__(
        self, options: Computing[Any], dest: Any, *, claims: bool, timeout_s: float | None, saves: bool
    ) -> None:
        self._options, self._dest = options, dest
        self.batch = os.urandom(8).hex()
        """Identifies the batch: no other one has the same text."""
        self.with_claims, self.timeout_s, self.saves = claims, timeout_s, saves
        self._driver_pid = os.getpid()
        self._handler: PersistenceHandler[Any] | None = None
        self._lock = threading.Lock()
        self._claims: Claims | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Workers that save nothing need not see where results are.
        dest = self._dest if self.saves else None
        return {**vars(self), "_dest": dest, "_handler": None, "_lock": None, "_claims": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def handler(self) -> PersistenceHandler[Any]:
        """Return the handler of this process, which remembers what it knows of the store."""
        with self._lock:
            if self._handler is None:
                if self.with_claims:
                    self._claims = Claims(self.batch)
                self._handler = self._options.persistence_handler(self._dest)
            return self._handler

    def run_one(self, template: Any) -> Outcome:
        """Return what becomes of *template*.

        :raises CannotStopError: nothing could end the computation in time here
        """
        try:
            if not self.saves:
                return Computed(self._compute(template))
            obstacle = self.begin(template)
            if obstacle is not None:
                return obstacle
            try:
                wanted = keys_in_name(self.handler().persistence_info, template)  # before compute_cache may change it
                return self.finish(template, self._compute(template), wanted)
            finally:
                self._leave(template)
        except CannotStopError:
            raise
        except Exception as error:
            return failure_of(template, error)

    def _compute(self, template: Any) -> Any:
        if self.timeout_s is None:
            return computed(self._options, template)
        with at_most(self.timeout_s, self._driver_pid):
            return computed(self._options, template)

    def begin(self, template: Any) -> str | None:
        """Return why *template* need not be computed here; None where it does, and is claimed."""
        handler = self.handler()
        claimed = None
        if self._claims is not None:
            claimed = self._claims.take(*handler._keeper.place_of(template))
            if claimed is None:
                return CLAIMED
        if not is_there(handler._keeper, template):
            return None
        if claimed == "resumed":
            self._leave(template)
            return SAVED
        self.end(template)
        return THERE

    def finish(self, template: Any, result: Any, wanted: dict[str, Any]) -> str:
        """Save *result*, which was computed for *template*, unless others saved it meanwhile: theirs stays.

        :param wanted: the keys that *template* had before
        :raises ValueError: it has other keys, of which there is a result already
        """
        handler = self.handler()
        autoinc = handler._keeper.info.layout.autoinc
        if autoinc is not None and getattr(result, autoinc, None) is None:  # compute_cache made a result of its own
            setattr(result, autoinc, getattr(template, autoinc))
        if handler._save_if_new(result):
            return SAVED
        refuse_other_keys(self._options, handler.persistence_info, result, wanted)
        self.end(template)
        return LATE

    def _leave(self, template: Any) -> None:
        """Give up the claim on *template*, or leave that to the driver."""
        if self._claims is not None and self.leaves_claims:
            self._claims.leave(*self.handler()._keeper.place_of(template))
        else:
            self.end(template)

    def end(self, template: Any) -> None:
        """Give up the claim on *template*."""
        if self._claims is not None:
            self._claims.release(*self.handler()._keeper.place_of(template))

    def claims_still(self, template: Any) -> bool:
        """Return whether the claim on *template* is this batch's: an attempt of it was lost before the driver had the answer."""
        handler = self.handler()
        return self._claims is not None and self._claims.is_held(*handler._keeper.place_of(template))

    def is_there(self, template: Any) -> bool:
        """Return whether *template* has its result by now."""
        return is_there(self.handler()._keeper, template)

    def give_up(self, *, sweep: bool) -> None:
        """Give up all claims of this process.

        :param sweep: and remove the old claims of dead batches
        """
        if self._claims is None:
            return
        self._claims.release_all()
        if sweep:
            try:
                self.handler()._keeper.store.sweep(STALE_AFTER_S)
            except OSError:
                pass  # the next batch comes across them
