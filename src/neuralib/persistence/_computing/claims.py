"""Claims: a batch shows which results it is computing, so that other batches pass them over.

A claim is a hidden name in the store of the results. It is put exclusively, and put again while its owner is alive. Claims only save
work: every batch looks whether a result is there, and all batches compute the same result.
"""

from __future__ import annotations

import _thread
import hashlib
import json
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from neuralib.persistence import _forks
from neuralib.persistence._stores.base import LEFTOVER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection

    from neuralib.persistence._bytes.sources import Source
    from neuralib.persistence._stores.base import Store

BEAT_S = 15.0
"""How often a claim is put again."""

STALE_S = 4 * BEAT_S
"""From this age on, a claim belongs to nobody: its owner was killed, or lost the store."""

_LONGEST = 1 << 12  # bytes of a claim that are read


class _TakenError(Exception):
    """Somebody else put a claim meanwhile."""


def claim_name(name: str) -> str:
    """Return the name of the claim on the result *name*."""
    return f"{LEFTOVER_PREFIX}work-{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"


class Claims:
    """The claims that this process holds for one batch. A process that is forked meanwhile leaves them to its parent.

    :param batch: the batch; of a claim that it finds there itself, an attempt was lost
    """

    def __init__(self, batch: str) -> None:
        self._host = socket.gethostname()
        pid = os.getpid()
        owner = {"batch": batch, "host": self._host, "pid": pid, "start": _state_of(pid)[1]}
        self._content = json.dumps(owner).encode()
        self._batch = batch
        self._parents: Collection[tuple[str, str]] = ()  # what the process held that this one was forked from
        self._begin()

    def _begin(self) -> None:
        """Hold nothing yet."""
        self._process = _forks.this_process
        self._held: dict[tuple[str, str], tuple[Store, float]] = {}
        self._lock = threading.Lock()
        self._beating = False

    def _see_fork(self) -> None:
        """Begin anew in a forked process: the lock may have been held, and the thread is not there."""
        if self._process is not _forks.this_process:
            self._parents = {*self._parents, *self._held}
            self._begin()

    def take(self, store: Store, name: str) -> Literal["new", "taken over", "resumed"] | None:
        """Claim the result *name* in *store*; return None where another batch is computing it.

        A claim is resumed that this batch itself has: its attempt was lost.
        """
        self._see_fork()
        claim = claim_name(name)
        how: Literal["new", "taken over", "resumed"] = "new"
        try:
            store.put(claim, self._content)
        except FileExistsError:
            there = self._take_over(store, claim)
            if there is None:
                return None
            how = "resumed" if self._is_of_batch(there) else "taken over"
        with self._lock:
            self._held[store.url, claim] = store, time.monotonic()
            if not self._beating:
                self._beating = True
                try:
                    _thread.start_new_thread(self._beat, ())
                except RuntimeError:
                    self._beating = False  # too many threads: without one, claims last a minute
        return how

    def leave(self, store: Store, name: str) -> None:
        """Renew the claim on *name* no more: another process of this batch releases it."""
        self._pop(store, claim_name(name))

    def _pop(self, store: Store, claim: str) -> bool:
        """Renew *claim* no more; return whether it is surely this batch's: nobody takes over one that is so young."""
        self._see_fork()
        with self._lock:
            _, since = self._held.pop((store.url, claim), (store, -math.inf))
        return time.monotonic() - since < BEAT_S

    def release(self, store: Store, name: str) -> None:
        """Give up this batch's claim on *name*; one that others took over stays."""
        claim = claim_name(name)
        try:
            is_own = self._pop(store, claim)
            if is_own or ((store.url, claim) not in self._parents and self._is_of_batch(_read(store, claim))):
                _remove(store, claim)
        except OSError:
            pass  # of a store that can't be read, it is nobody's after a minute

    def is_held(self, store: Store, name: str) -> bool:
        """Return whether the claim on the result *name* is this batch's, as far as the store tells."""
        try:
            return self._is_of_batch(_read(store, claim_name(name)))
        except OSError:
            return False

    def release_all(self) -> None:
        """Give up all claims."""
        self._see_fork()
        with self._lock:
            held, self._held = self._held, {}
        for (_, claim), (store, _) in held.items():
            _remove(store, claim)

    def _take_over(self, store: Store, claim: str) -> bytes | None:
        """Take over *claim* if its owner is dead, and return what was in it; None where its owner is alive."""
        there = _read(store, claim)
        try:
            age_s = time.time() - store.stat(claim).time_modified_s
        except FileNotFoundError:
            age_s = STALE_S  # released just now
        if age_s < STALE_S and not self._is_dead(there):
            return None

        try:
            self._put_over(store, claim, there)
        except _TakenError:
            return None
        # Of two who replace it at one moment, one is last.
        return there if _read(store, claim) == self._content else None

    def _put_over(self, store: Store, claim: str, there: bytes) -> None:
        """Put *claim* of this batch in place of what has the content *there*.

        :raises _TakenError: somebody else did meanwhile
        """

        def refuse_change(source: Source) -> None:
            if _start_of(source) != there:
                raise _TakenError

        store.put(claim, self._content, replace=refuse_change)

    def _is_of_batch(self, content: bytes) -> bool:
        return _owner_in(content).batch == self._batch

    def _is_dead(self, content: bytes) -> bool:
        """Return whether the owner of a claim with *content* is known to be dead: its process, or this batch's own attempt."""
        owner = _owner_in(content)
        if owner.batch == self._batch:
            return True
        return owner.host == self._host and os.name == "posix" and not _is_running(owner.pid, owner.start)

    def _beat(self) -> None:
        """Put the claims again that are held for some time, until none is held."""
        while True:
            time.sleep(BEAT_S)
            with self._lock:
                if not self._held:
                    self._beating = False
                    return
                before = time.monotonic() - BEAT_S / 2
                due = [(store, claim) for (_, claim), (store, since) in self._held.items() if since < before]
            for store, claim in due:
                self._renew(store, claim)

    def _renew(self, store: Store, claim: str) -> None:
        try:
            self._put_over(store, claim, self._content)
        except (OSError, _TakenError):
            pass  # tried again, or lost: the result is looked for before it is saved
        with self._lock:
            if (store.url, claim) not in self._held:  # released meanwhile
                _remove(store, claim)


class _Owner(NamedTuple):
    """The process that put a claim; empty texts where that is not known."""

    batch: str = ""
    host: str = ""
    pid: int = 0
    start: str = ""
    """When the process began, as its system counts."""


def _owner_in(content: bytes) -> _Owner:
    try:
        owner: dict[str, Any] = json.loads(content)
        return _Owner(str(owner["batch"]), str(owner["host"]), int(owner["pid"]), str(owner.get("start", "")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return _Owner()  # no claim of this version: its age decides


def _is_running(pid: int, start: str) -> bool:
    """Return whether the process *pid* that began at *start* may be running: another one may have its number by now."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no system has that many
        return False
    except OSError:
        return True  # another user's
    state, began = _state_of(pid)
    return state != "Z" and start in {"", began}  # Z: it has ended, and its parent has not asked how


def _state_of(pid: int) -> tuple[str, str]:
    """Return the state of the process *pid* and when it began, on Linux; empty texts where that is not known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def _read(store: Store, name: str) -> bytes:
    """Return the content of *name*; nothing where it is gone."""
    try:
        source = store.open(name)
    except FileNotFoundError:
        return b""
    try:
        return _start_of(source)
    finally:
        source.close()


def _remove(store: Store, claim: str) -> None:
    """Remove *claim*, as far as that can be done."""
    try:
        store.delete(claim)
    except OSError:
        pass  # gone, or nobody's after a minute


def _start_of(source: Source) -> bytes:
    return bytes(source.read_at(min(source.size, _LONGEST), 0))
