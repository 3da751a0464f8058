"""A bucket of a cloud by obstore: its clients, its requests, and what its server does unlike others."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from neuralib.persistence import _forks
from neuralib.persistence._errors import UnconditionalStoreError
from neuralib.persistence._packages import import_extra
from neuralib.persistence._stores.attempts import Attempts, as_os_error, is_refusal, is_unsupported, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

_PROBE = ".neuralib-persistence-check"
_PROBE_TEXT = (
    b"neuralib-persistence tests with this object whether the server keeps conditions of puts. It may be deleted.\n"
)
_NO_VERSION: dict[str, Any] = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}  # Google's are times
_CLIENT_OPTIONS = {"allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout", "user_agent"}
_SLOWEST_BYTES_PER_S = 1 << 18  # of an upload, for the time that it may take
_SHORTEST_TIMEOUT_S = 30
_MOST_PUT_BYTES = {"S3Store": 5 << 30, "AzureStore": 5000 << 20}
_SORTED = {"S3Store", "GCSStore", "MemoryStore"}  # which list names in their order, from any name on
_SECRET = re.compile(r"secret|token|sas|password|key|credential|header|proxy_url")
_HARMLESS = re.compile(
    r".*(_id|_file|_path|_uri|_enabled|_type|bucket_key)|application_credentials|credential_provider"
)

_user: object = None  # the process that used a bucket first: this one, or the one that it was forked from


class Bucket:
    """A bucket, or what is below a prefix in it.

    :param place: its URL, or one of obstore's stores
    :param options: of ``obstore.store.from_url``
    :raises ImportError: obstore is not installed
    :raises ValueError: the URL is none of an object store, or contains credentials; an option is not known
    """

    client: Any
    """Makes several attempts at a request: for listings, since one that stops can't go on from there."""

    def __init__(self, place: Any, options: dict[str, Any]) -> None:
        from_url = import_extra("obstore.store", "cloud", "an object store").from_url
        self._place, self._options = place, options
        self._retry_config: dict[str, Any] = dict(options.get("retry_config") or {})
        self._make: Callable[..., Any] | None = None
        if isinstance(place, str):
            self.url = _checked_url(place)
            self._make = lambda **more: from_url(self.url, **{**options, **more})
            self.client = self._made(self._make)
        else:
            others = sorted(options.keys() - {"retry_config"})
            if others:
                raise ValueError(f"ObjectStore: give the options {', '.join(others)} to the store of obstore itself")
            self.client, self.url = place, _url_of(place)
        kind = type(self.client).__name__
        self.is_sorted = kind in _SORTED and not _is_true(_config_of(self.client).get("s3_express"))
        self.is_azure = kind == "AzureStore"
        self.most_bytes = _MOST_PUT_BYTES.get(kind, 5 << 40)
        self._clients: dict[int, Any] = {}  # by the longest time that a request may take, in seconds
        self._lock, self._probing = threading.Lock(), threading.Lock()
        self._kept: dict[str, str] = {}  # by condition: why it is not kept, or nothing where it is

    def _made(self, make: Callable[..., Any]) -> Any:
        try:
            return make()
        except BaseException as error:
            # obstore panics at some wrong options.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            problem = problem_of(error)
        raise ValueError(f"{self.url}: {problem}: the options are those of obstore.store.from_url") from None

    def to_pickle(self) -> tuple[Any, dict[str, Any]]:
        """Return the place and the options.

        :raises TypeError: credentials are among them
        """
        given = {**_config_of(self._place), **self._options, **(self._options.get("config") or {})}
        given |= getattr(self._place, "client_options", None) or self._options.get("client_options") or {}
        secret = sorted(name for name in given if _SECRET.search(name.lower()) and not _HARMLESS.match(name.lower()))
        if secret:
            raise TypeError(
                f"{self.url}: a store with {', '.join(secret)} among its options is not pickled, since credentials would be "
                f"pickled with it: leave them to the environment or a file, or give a credential_provider, a function"
            )
        return self._place, self._options

    # ------------------------------------------------------------------------------------------ requests

    def client_for(self, size: int) -> Any:
        """Return a client that makes one attempt at a request with *size* bytes, which may take as long as those need."""
        self.refuse_fork()
        if self._make is None:
            return self.client
        timeout_s = _SHORTEST_TIMEOUT_S
        while timeout_s * _SLOWEST_BYTES_PER_S < size:
            timeout_s *= 2
        with self._lock:
            found = self._clients.get(timeout_s)
            if found is None:
                more: dict[str, Any] = {"retry_config": {**self._retry_config, "max_retries": 0}}
                if timeout_s > _SHORTEST_TIMEOUT_S:
                    given = self._options.get("client_options") or {}
                    # Where there are options, obstore does not look for others in the environment.
                    more["client_options"] = {"timeout": f"{timeout_s}s", **(given or _client_options_of_environment())}
                found = self._clients[timeout_s] = self._make(**more)
            return found

    def attempts(self) -> Attempts:
        """Return the attempts at a new request."""
        return Attempts(self._retry_config)

    def request(self, doing: str, place: str, request: Callable[[], R]) -> R:
        """Return what *request* returns, which may be sent twice.

        :param doing: for messages: what it does, as "saving"
        :param place: for messages: where
        """
        self.refuse_fork()
        attempts = self.attempts()
        try:
            return attempts.call(request)
        except Exception as error:
            problem = as_os_error(error, doing, place, attempts.text())
        raise problem from None  # which may quote what is secret

    def refuse_fork(self) -> None:
        """Raise an error in a process that was forked from one that used a bucket.

        :raises RuntimeError: with what to do instead
        """
        global _user  # noqa: PLW0603 - of the process
        _user = _user or _forks.this_process
        if _user is not _forks.this_process:
            raise RuntimeError(
                f"{self.url}: this process was forked from one that used an object store, and can't use it: the threads that "
                f"do its requests were not copied. Start new processes: "
                f"ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
            )

    # ------------------------------------------------------------------------------------------ conditions

    def require(self, condition: str) -> None:
        """Raise an error where the server does not keep *condition*, which is tried once.

        :param condition: ``'create'`` or ``'replace'``
        :raises UnconditionalStoreError: it does not
        """
        problem = self._kept.get(condition)
        if problem is None:
            self.refuse_fork()  # the lock may be a thread's that is not here
            with self._probing:
                problem = self._kept.get(condition)
                if problem is None:
                    client, doing = self.client_for(0), "testing whether the server keeps conditions"
                    problem = self.request(doing, f"{self.url}/{_PROBE}", lambda: _probed(client, condition))
                    self._kept[condition] = problem
        if problem:
            raise UnconditionalStoreError(self.url, problem)


def _checked_url(text: str) -> str:
    """Return the URL *text* without a slash at its end.

    :raises ValueError: it is none of an object store, or has credentials in it
    """
    scheme, _, rest = text.partition("://")
    if not rest:
        raise ValueError(
            "ObjectStore: expected a URL such as 's3://bucket/prefix', 'gs://bucket/prefix' or 'az://container'"
        )
    if "?" in rest or "#" in rest or ":" in rest.partition("@")[0] * ("@" in rest):
        raise ValueError(
            f"ObjectStore: the {scheme}:// URL contains a '?', a '#' or a password: give a bucket and a prefix, and "
            f"everything else as options"
        )
    return text.rstrip("/")


def _config_of(client: Any) -> dict[str, Any]:
    return dict(getattr(client, "config", None) or {})


def _url_of(client: Any) -> str:
    """Return a URL for messages."""
    config = _config_of(client)
    place = config.get("bucket") or config.get("container_name") or ""
    scheme = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}.get(type(client).__name__)
    name = type(client).__name__.removesuffix("Store").lower() if scheme is None else scheme
    return f"{name}://{place}/{getattr(client, 'prefix', None) or ''}".rstrip("/") or name


def _client_options_of_environment() -> dict[str, str]:
    """Return what the environment says of connections, such as ``AWS_ALLOW_HTTP``."""
    found = {}
    for variable, value in os.environ.items():
        prefix, _, name = variable.partition("_")
        if prefix in {"AWS", "AZURE", "GOOGLE"} and name.lower() in _CLIENT_OPTIONS:
            found[name.lower()] = value
    return found


def _is_true(value: object) -> bool:
    return str(value).lower() in {"1", "true", "on", "yes", "y"}


def _probed(client: Any, condition: str) -> str:
    """Return why the server of *client* does not keep *condition*; nothing where it does."""
    mode: Any = "create" if condition == "create" else _NO_VERSION
    for _ in range(2 if condition == "create" else 1):  # the first may make the object
        try:
            client.put(_PROBE, _PROBE_TEXT, mode=mode, use_multipart=False)
        except Exception as error:
            if is_refusal(error):
                return ""
            if is_unsupported(error):
                return "it has no puts with a condition"
            raise
    if condition == "create":
        return "a put that was to make a new object replaced one (If-None-Match)"
    return "a put that was to replace a certain version replaced another (If-Match)"
