"""Ctrl-C at a chosen instruction of Python's byte code, or at a chosen time.

Two ways at an instruction. *Asked for*: the signal is noted there, as if it came in that moment, and the interpreter raises
KeyboardInterrupt where it next looks for signals. Whatever Python code runs, the standard library's too, has to bear it.
*Raised*: KeyboardInterrupt comes before that very instruction, one of this package's code that may call something. Others
can't raise, and compiled code relies on that: where a handler gives up what it handled, the interpreter would take a value
for the exception. No signal comes before every call either: the standard library's locks, for one, don't bear it.
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
_CALLING = {
    code
    for name, code in dis.opmap.items()
    if name.startswith(("CALL", "PRECALL", "LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "BINARY", "COMPARE", "FOR_ITER"))
    and "INTRINSIC" not in name
}
_TOOL = 4  # one of those that nobody else uses


class Interruption:
    """Runs a function, and interrupts it before the n-th instruction.

    :param moment: n, from 0 on
    :param asked: ask for it; else it is raised, and n counts the instructions of this package that may call something
    """

    def __init__(self, moment, *, asked):
        self._moment = self._left = moment
        self._asked = asked
        self._main = _thread.get_ident()

    @property
    def passed(self):
        """How many instructions were counted: all of them, where it did not come to an interruption."""
        return self._moment - self._left

    def __call__(self, run):
        """Run until then; return whether it came to that."""
        try:
            with self._watched():
                run()
        except KeyboardInterrupt:
            return True
        return self._left < 0

    def _at(self):
        """Take note of an instruction."""
        self._left -= 1
        if self._left == -1:
            if not self._asked:
                raise KeyboardInterrupt
            self._look_away()  # else the interpreter looks for signals in what watches, when it is called the next time
            # A loop over what is compiled looks for signals only when it comes round: so not in here.
            for _ in map(_thread.interrupt_main, (signal.SIGINT,)):
                return

    def _counts(self, code, offset):
        return self._asked or (code.co_filename.startswith(OURS) and code.co_code[offset] in _CALLING)

    if sys.version_info >= (3, 12):

        @contextmanager
        def _watched(self):
            watching = sys.monitoring
            if watching.get_tool(_TOOL) is None:  # kept: Ctrl-C may come while it would be given back
                watching.use_tool_id(_TOOL, "interruptions")
            try:
                watching.register_callback(_TOOL, watching.events.INSTRUCTION, self._stepped)
                watching.set_events(_TOOL, watching.events.INSTRUCTION)
                yield
            finally:
                watching.set_events(_TOOL, 0)
                self._look_away()

        def _look_away(self):
            sys.monitoring.register_callback(_TOOL, sys.monitoring.events.INSTRUCTION, None)

        def _stepped(self, code, offset):
            if self._counts(code, offset) and _thread.get_ident() == self._main:
                self._at()

    else:

        @contextmanager
        def _watched(self):
            try:
                sys.settrace(self._called)
                yield
            finally:
                self._look_away()

        def _look_away(self):
            sys.settrace(None)

        def _called(self, frame, event, arg):
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return self._stepped

        def _stepped(self, frame, event, arg):
            if event == "opcode" and self._counts(frame.f_code, frame.f_lasti):
                self._at()
            return self._stepped


@contextmanager
def _noted(number):
    """Let the signal of that *number* raise KeyboardInterrupt; give a list that says when it did."""
    came = []

    def raise_it(*_):
        came.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(number, raise_it)
    try:
        yield came
    finally:
        signal.signal(number, before)


def _waited(came):
    """Wait for a signal that is on its way: what runs may have ended before it, or have swallowed it in a ``__del__``."""
    deadline = time.monotonic() + 10
    while not came and time.monotonic() < deadline:
        time.sleep(0.001)
    assert came, "the signal did not come"


def interrupted_by_timer(delay_s):
    """By this process's own timer: more often in the midst of things."""

    def disturb(run):
        ended = False
        with _noted(signal.SIGALRM) as came:
            try:
                signal.setitimer(signal.ITIMER_REAL, delay_s)
                run()
                ended = not came
                _waited(came)
            except KeyboardInterrupt:
                pass
        return not ended

    return disturb


def interrupted_by_another(delay_s):
    """By SIGINT from another process, as Ctrl-C comes."""

    def disturb(run):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            time.sleep(delay_s)
            os.kill(os.getppid(), signal.SIGINT)
            os._exit(0)
        ended = False
        with _noted(signal.SIGINT) as came:
            try:
                os.write(writing, b"x")
                run()
                ended = not came
                _waited(came)
            except KeyboardInterrupt:
                pass
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)
        return not ended

    return disturb
