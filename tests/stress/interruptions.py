"""Ctrl-C at a chosen instruction of Python's byte code, or at a chosen time.

There are two ways to interrupt at an instruction. *By signal*: the signal is set pending there, and the interpreter raises
KeyboardInterrupt where it next looks for signals. That may be in any Python code, the standard library's too. *Raised*:
KeyboardInterrupt is raised before that very instruction. This is done for instructions of this package that may call something
only: the interpreter relies on the others not to raise, and the standard library's locks don't survive it before each call.
"""

from __future__ import annotations

import _thread
import dis
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import neuralib.persistence._stores

OURS = str(Path(neuralib.persistence._stores.__file__).parents[1])
ENDLESS = sys.maxsize
_MAY_CALL = {
    code
    for name, code in dis.opmap.items()
    if name.startswith(("CALL", "PRECALL", "LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "BINARY", "COMPARE", "FOR_ITER"))
    and "INTRINSIC" not in name
}
_TOOL = 4  # an id of sys.monitoring that no known tool uses


class Interruption:
    """Runs a function, and interrupts it before the n-th instruction.

    :param moment: n, from 0 on
    :param by_signal: set a signal pending; else raise, and count only instructions of this package that may call something
    """

    def __init__(self, moment, *, by_signal):
        self._moment = self._left = moment
        self._by_signal = by_signal
        self._main = _thread.get_ident()

    @property
    def passed(self):
        """How many instructions were counted: those of the whole run if it was not interrupted."""
        return self._moment - self._left

    def __call__(self, run):
        """Call *run*; return whether it was interrupted."""
        try:
            with self._watched():
                run()
        except KeyboardInterrupt:
            return True
        return self._left < 0

    def _count(self):
        """Count one instruction, and interrupt if it is the n-th."""
        self._left -= 1
        if self._left == -1:
            if not self._by_signal:
                raise KeyboardInterrupt
            self._stop_watching()  # otherwise the interpreter would raise in this function when it is called next
            # The interpreter looks for signals at the end of a loop's body: `return` leaves before that.
            for _ in map(_thread.interrupt_main, (signal.SIGINT,)):
                return

    def _counts(self, code, offset):
        return self._by_signal or (code.co_filename.startswith(OURS) and code.co_code[offset] in _MAY_CALL)

    if sys.version_info >= (3, 12):

        @contextmanager
        def _watched(self):
            watching = sys.monitoring
            if watching.get_tool(_TOOL) is None:  # never given back, since Ctrl-C may come at that moment
                watching.use_tool_id(_TOOL, "interruptions")
            try:
                watching.register_callback(_TOOL, watching.events.INSTRUCTION, self._stepped)
                watching.set_events(_TOOL, watching.events.INSTRUCTION)
                yield
            finally:
                watching.set_events(_TOOL, 0)
                self._stop_watching()

        def _stop_watching(self):
            sys.monitoring.register_callback(_TOOL, sys.monitoring.events.INSTRUCTION, None)

        def _stepped(self, code, offset):
            if self._counts(code, offset) and _thread.get_ident() == self._main:
                self._count()

    else:

        @contextmanager
        def _watched(self):
            try:
                sys.settrace(self._called)
                yield
            finally:
                self._stop_watching()

        def _stop_watching(self):
            sys.settrace(None)

        def _called(self, frame, event, arg):
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return self._stepped

        def _stepped(self, frame, event, arg):
            if event == "opcode" and self._counts(frame.f_code, frame.f_lasti):
                self._count()
            return self._stepped


@contextmanager
def _interrupted_by(number):
    """Let the signal of that *number* raise KeyboardInterrupt; give a list that gets the time when it came."""
    came = []

    def raise_it(*_):
        came.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(number, raise_it)
    try:
        yield came
    finally:
        signal.signal(number, before)


def _wait_for_signal(came):
    """Wait for a signal that was sent: the run may have ended before it came, or have ignored it in a ``__del__``."""
    deadline = time.monotonic() + 10
    while not came and time.monotonic() < deadline:
        time.sleep(0.001)
    assert came, "the signal did not come"


def interrupted_by_timer(delay_s):
    """Return a function that runs its argument, and interrupts it after a time by a timer of this process."""

    def disturb(run):
        ended = False
        with _interrupted_by(signal.SIGALRM) as came:
            try:
                signal.setitimer(signal.ITIMER_REAL, delay_s)
                run()
                ended = not came
                _wait_for_signal(came)
            except KeyboardInterrupt:
                pass
        return not ended

    return disturb


def interrupted_by_another(delay_s):
    """Return a function that runs its argument, and interrupts it after a time by SIGINT from another process, as Ctrl-C does."""

    def disturb(run):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            time.sleep(delay_s)
            os.kill(os.getppid(), signal.SIGINT)
            os._exit(0)
        ended = False
        with _interrupted_by(signal.SIGINT) as came:
            try:
                os.write(writing, b"x")
                run()
                ended = not came
                _wait_for_signal(came)
            except KeyboardInterrupt:
                pass
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)
        return not ended

    return disturb
