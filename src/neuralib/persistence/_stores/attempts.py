"""Requests over a network: which failures may pass, how long to wait before the next attempt, and what an error says."""

from __future__ import annotations

import errno
import random
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence._messages import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

R = TypeVar("R")

_STATUS = re.compile(r"status code: (\d{3})([^:<\n]*)")
_REASONS = (re.compile(r"<Code>([^<]{1,80})</Code>"), re.compile(r"<Message>([^<\n]{1,200})"))
_OF_NETWORK = re.compile("Error performing|HTTP error|body error")  # an answer that did not come, or not whole
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_TEXT = 300
_chance = random.SystemRandom()  # the numbers of `random` itself are the program's, which may have seeded them


class Attempts:
    """The attempts at one request. They end after some retries, or after a time, whichever comes first.

    :param retry_config: as obstore takes it; what is not given is as obstore has it
    """

    def __init__(self, retry_config: Mapping[str, Any]) -> None:
        backoff = retry_config.get("backoff", {})
        self.retries = 0
        self._most_retries: int = retry_config.get("max_retries", 10)
        self._longest_s = _seconds(retry_config.get("retry_timeout", 180.0))
        self._pause_s = _seconds(backoff.get("init_backoff", 0.1))
        self._longest_pause_s = _seconds(backoff.get("max_backoff", 15.0))
        self._base: float = backoff.get("base", 2)
        self._start_s = time.monotonic()

    def pause(self) -> bool:
        """Wait before the next attempt. Return False, without waiting, if there were enough."""
        if self.retries >= self._most_retries or time.monotonic() - self._start_s >= self._longest_s:
            return False
        self.retries += 1
        time.sleep(_chance.uniform(0.5, 1.0) * self._pause_s)  # so that writers don't come again together
        self._pause_s = min(self._pause_s * self._base, self._longest_pause_s)
        return True

    def call(self, request: Callable[[], R]) -> R:
        """Return what *request* returns. It must be one that may be sent twice."""
        while True:
            try:
                return request()
            except Exception as error:
                if not may_pass(error) or not self.pause():
                    raise

    def text(self) -> str:
        """Return how long it was tried, for a message."""
        if not self.retries:
            return ""
        return f" ({self.retries + 1} attempts in {time.monotonic() - self._start_s:.1f} s)"


def _seconds(value: Any) -> float:
    return float(value.total_seconds() if hasattr(value, "total_seconds") else value)


def may_pass(error: Exception) -> bool:
    """Return whether *error* may be gone at the next attempt: of the network, or of a server that is busy."""
    from obstore import exceptions

    if isinstance(error, exceptions.AlreadyExistsError):
        return True  # another request for the same name may have been under way
    if not isinstance(error, exceptions.GenericError):
        return False
    status = _STATUS.search(str(error))
    return bool(_OF_NETWORK.search(str(error))) if status is None else int(status[1]) in _MAY_PASS


def is_refusal(error: Exception) -> bool:
    """Return whether *error* says that the condition of a put does not hold."""
    from obstore import exceptions

    return isinstance(error, (exceptions.AlreadyExistsError, exceptions.PreconditionError))


def is_range_refusal(error: Exception) -> bool:
    """Return whether *error* says that there are no bytes in a range."""
    from obstore import exceptions

    text = str(error)
    return isinstance(error, exceptions.GenericError) and ("status code: 416" in text or "non-partial" in text)


def is_unsupported(error: Exception) -> bool:
    """Return whether *error* says that the server, or obstore's client for it, has no such request."""
    from obstore import exceptions

    if isinstance(error, (NotImplementedError, exceptions.NotSupportedError)):
        return True
    status = _STATUS.search(str(error))
    return isinstance(error, exceptions.GenericError) and status is not None and int(status[1]) in {405, 501}


def problem_of(error: BaseException) -> str:
    """Return what *error* says, printable, without what may be secret: addresses with signatures, headers, bodies."""
    text = str(error).split("\n\nDebug source", 1)[0]
    status = _STATUS.search(text)
    if status is not None:
        reasons = [found[1].strip() for found in (pattern.search(text) for pattern in _REASONS) if found]
        return printable(": ".join([f"the server answered {status[1]}{status[2]}".rstrip(), *reasons]))
    text = printable(re.sub(r"\?\S*|(?<=//)[^/\s]*@", "", text.splitlines()[0] if text else type(error).__name__))
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def as_os_error(error: Exception, doing: str, place: str, tried: str = "") -> Exception:
    """Return *error* of a request as an error of the operating system that names *place*; as it is where it is none of obstore's.

    :param tried: how long it was tried
    """
    from obstore import exceptions

    denied = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    status = _STATUS.search(str(error)) if isinstance(error, exceptions.GenericError) else None
    code = _REASONS[0].search(str(error))
    if code is not None and code[1] in {"NoSuchBucket", "ContainerNotFound"}:
        number, problem = errno.ENOENT, "there is no such bucket: create it first"
    elif isinstance(error, FileNotFoundError):
        number, problem = errno.ENOENT, "no such object"
    elif isinstance(error, denied) or (status is not None and status[1] in {"401", "403"}):
        # A refused listing has an error without a type, which shows the status alone.
        number, problem = errno.EACCES, f"{problem_of(error)}; check the credentials and what they allow"
    elif isinstance(error, exceptions.PreconditionError):
        number, problem = errno.ESTALE, "it was replaced meanwhile"
    elif isinstance(error, UnicodeEncodeError) or (
        isinstance(error, (ValueError, exceptions.InvalidPathError)) and "Could not parse path" in str(error)
    ):
        number, problem = errno.EINVAL if doing == "saving" else errno.ENOENT, "an object can't have such a name"
    elif isinstance(error, exceptions.InvalidPathError):
        problem = f"obstore can't list an object with such a name: {problem_of(error)}"
        number, problem = errno.EIO, f"{problem}; rename or delete it, or give results a prefix of their own"
    elif isinstance(error, (ValueError, OverflowError)):  # such as of a time that no calendar has
        number, problem = errno.EIO, f"the server's answer can't be read: {problem_of(error)}"
    elif is_unsupported(error):
        number, problem = errno.ENOTSUP, problem_of(error)
    elif isinstance(error, exceptions.BaseError):
        number, problem = errno.EIO, problem_of(error)
    else:
        return error
    return OSError(number, f"{problem}{tried}, while {doing}", place)
