"""A server that answers as S3 does, with buckets whose listings and objects lie, for tests: one bucket for each kind."""

from __future__ import annotations

import hashlib
import http.server
import itertools
import re
import threading
import urllib.parse
from typing import TYPE_CHECKING, Any

import hostile_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PREFIX = "results"
NAME = hostile_files.RESULT_NAME
WHOLE = hostile_files._fields(b=b"K\x00", data=b"K\x05")
_DATE = "2024-01-01T00:00:00.000Z"
_HTTP_DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
_XML_CHARACTERS = str.maketrans({"&": "&amp;", "<": "&lt;", **{chr(n): f"&#{n};" for n in range(1, 32)}})


class Bucket:
    """A bucket that does what it should, but for what is given.

    :param objects: by name, the content
    :param keys: the keys that are listed; those of *objects* where None
    :param pages: in place of them, the whole answer to each next request for names
    :param put: the answer to each put, in place of storing anything
    :param size: what the listing says of each size
    :param change: changes the answer to a request for an object: its method, status, headers and body, which it returns
    """

    def __init__(
        self,
        objects: dict[str, bytes] | None = None,
        keys: Iterable[str] | None = None,
        pages: Callable[[], Iterable[bytes]] | None = None,
        change: Callable[..., Any] | None = None,
        put: tuple[int, dict[str, str], bytes] | None = None,
        **listed: Any,
    ) -> None:
        self._given = {
            f"{PREFIX}/{name}": data for name, data in ({NAME: WHOLE} if objects is None else objects).items()
        }
        self._keys, self._pages, self._change, self._put, self._listed = keys, pages, change, put, listed
        self.restore()

    def restore(self) -> None:
        """Let all be as it was at first."""
        self.objects = dict(self._given)
        self._metadata: dict[str, dict[str, str]] = {}
        self._requests = itertools.count()

    def page(self, query: dict[str, str]) -> bytes:
        if self._pages is not None:
            if "continuation-token" not in query:
                self._rest = iter(self._pages())
            return next(self._rest)
        keys = sorted(self.objects) if self._keys is None else self._keys
        after = query.get("start-after", "")
        return page((key for key in keys if key > after or self._keys is not None), sizes=self.objects, **self._listed)

    def answer(
        self, method: str, key: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], bytes | Iterable[bytes]]:
        if method == "PUT" and self._put is not None:
            return self._put
        found = self._honest(method, key, headers, body)
        return found if self._change is None else self._change(next(self._requests), method, *found)

    def _honest(self, method: str, key: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        there = self.objects.get(key)
        etag = None if there is None else _etag(there)
        if method == "PUT":
            if ("If-None-Match" in headers and there is not None) or headers.get("If-Match", etag) != etag:
                return 412, {}, _error("PreconditionFailed")
            self.objects[key] = body
            self._metadata[key] = {
                name: value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")
            }
            return 200, {"ETag": _etag(body)}, b""
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, {}, b""
        if there is None or etag is None:
            return 404, {}, _error("NoSuchKey")
        if headers.get("If-Match", etag) != etag:
            return 412, {}, _error("PreconditionFailed")
        known = {"ETag": etag, "Last-Modified": _HTTP_DATE, "Content-Length": str(len(there))}
        known |= self._metadata.get(key, {})
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
        if wanted is None or method == "HEAD":
            return 200, known, b"" if method == "HEAD" else there
        first, last = wanted.groups()
        begin = int(first) if first else max(0, len(there) - int(last))
        end = min(len(there), int(last) + 1 if first and last else len(there))
        if begin >= end:
            return 416, {}, _error("InvalidRange")
        known |= {"Content-Length": str(end - begin), "Content-Range": f"bytes {begin}-{end - 1}/{len(there)}"}
        return 206, known, there[begin:end]


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 - as S3 does


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()


def page(
    keys: Iterable[str],
    token: str = "",
    *,
    sizes: dict[str, bytes] | None = None,
    size: int | None = None,
    date: str = _DATE,
    etag: str | None = '"e"',
) -> bytes:
    """Return a page of a listing; *token* leads to the next."""
    found = [
        f"<Contents><Key>{key.translate(_XML_CHARACTERS)}</Key><LastModified>{date}</LastModified>"
        + ("" if etag is None else f"<ETag>{etag.translate(_XML_CHARACTERS)}</ETag>")
        + f"<Size>{len((sizes or {}).get(key, b'x')) if size is None else size}</Size></Contents>"
        for key in keys
    ]
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>{str(bool(token)).lower()}</IsTruncated>'
        f"{more}{''.join(found)}</ListBucketResult>"
    ).encode()


def _below(*names: str) -> list[str]:
    return [f"{PREFIX}/{name}" for name in names]


def _of_others(suffixes: Iterable[object]) -> list[str]:
    return _below(*(f"cache-Pair-1-{suffix}.pkl" for suffix in suffixes), NAME)


def _zeros(megabytes: int) -> Iterable[bytes]:
    return itertools.repeat(bytes(1 << 20), megabytes)


def _endless_body(_n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    if method != "GET" or status != 206:
        return status, headers, body
    return status, headers | {"Content-Length": str(1 << 42)}, itertools.chain([body], _zeros(1 << 12))


def _with_headers(method: str = "GET", **more: str | None) -> Callable[..., Any]:
    """Return a change that sets headers of answers; None takes one away."""
    named = {name.replace("_", "-"): value for name, value in more.items()}

    def change(_n: int, asked: str, status: int, headers: dict[str, str], body: Any) -> Any:
        if asked == method and status < 300:
            headers = {name: value for name, value in {**headers, **named}.items() if value is not None}
        return status, headers, body

    return change


def _cut(_n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    """Send less than is said to come."""
    return (
        (status, headers | {"Content-Length": str(len(body) // 2)}, body[: len(body) // 2])
        if method == "GET"
        else (status, headers, body)
    )


def _whole(_n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    return (200 if method == "GET" and status == 206 else status), headers, body


def _no_range(_n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    """Say that there is no such range, and send without end where all is asked for."""
    if method == "GET" and status == 206:
        return 416, {}, _error("InvalidRange")
    if method == "GET" and status == 200:
        return status, headers | {"Content-Length": str(1 << 50)}, _zeros(1 << 12)
    return status, headers, body


def _another_etag(n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    """Give another ETag each time, and refuse what is to replace one."""
    return status, {name: f'"{n}"' if name == "ETag" else value for name, value in headers.items()}, body


def _changing(n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    """Send in turn what is there, what runs code where it is trusted, and rubbish of the same size, under one ETag."""
    if method != "GET" or status != 206:
        return status, headers, body
    runs = b"\x80\x04cos\n_exit\nK\x01\x85R."
    sent = [body, (runs + bytes(len(body)))[: len(body)], b"\xff" * len(body)][n % 3]
    return status, headers, sent


def _growing(n: int, method: str, status: int, headers: dict[str, str], body: Any) -> Any:
    """Let the object be larger each time, without an ETag."""
    headers = {name: value for name, value in headers.items() if name != "ETag"}
    if method != "GET" or status != 206:
        return status, headers, body
    size = len(body) + n
    return (
        status,
        headers | {"Content-Length": str(size), "Content-Range": f"bytes 0-{size - 1}/{size}"},
        body + b"x" * n,
    )


def buckets(count: int) -> dict[str, Bucket]:
    """Return hostile buckets, whose listings have about *count* bytes where that can be chosen."""
    strange = "\u202e\u2028\x7f\x85=1+1<script>"
    many = count // 100
    large = hostile_files.file_with_large_array(400_000)
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "xxxxxxxxxx">'
        + b"".join(b'<!ENTITY a%d "%s">' % (n + 1, b"&a%d;" % n * 10) for n in range(12))
        + b"]>"
    )

    def circle() -> Iterable[bytes]:
        return itertools.repeat(page(_of_others(range(50)), "again"))

    def endless() -> Iterable[bytes]:
        return (page(_of_others(range(n, n + 1000)), str(n)) for n in itertools.count(10**9, 1000))

    def others_without_end() -> Iterable[bytes]:
        return (page([f"{PREFIX}/0/{k}" for k in range(n, n + 1000)], str(n)) for n in itertools.count(10**9, 1000))

    def empty_pages() -> Iterable[bytes]:
        return [*(page([], str(n)) for n in range(20)), page(_below(NAME))]

    def fails_late() -> Iterable[bytes]:
        return [page(_of_others(range(50)), "more"), b"<html>not any more</html>"]

    return {
        "a whole result": Bucket(),
        "strange names": Bucket(keys=_of_others([strange, "=cmd()", " ", "%2e%2e%2f", "..\\..\\x", "C:\\x"])),
        "a control character": Bucket(keys=_of_others(["\x1b[31m"])),
        "a line end": Bucket(keys=_of_others(["\n"])),
        "folders above": Bucket(keys=_below("../cache-Pair-1-7.pkl", NAME)),
        "no part between slashes": Bucket(keys=_below("/etc/cache-Pair-1-7.pkl", NAME)),
        "names of others": Bucket(keys=["/etc/passwd", "other/cache-Pair-1-8.pkl", *_below(NAME)]),
        "the prefix itself": Bucket(keys=["", PREFIX, f"{PREFIX}/", *_below(NAME)]),
        "long names": Bucket(keys=_of_others("x" * count + str(n) for n in range(9))),
        "long numbers": Bucket(keys=_below(*(f"cache-Run-A-#{'9' * 5000}{n}.pkl" for n in range(20)), NAME)),
        "names of dashes": Bucket(keys=_below(f"cache-Pair{'-' * count}.pkl", f"cache-Run{'-' * count}#1.pkl", NAME)),
        "very many names": Bucket(keys=_of_others(f"{n:09d}" for n in range(many))),
        "equal names": Bucket(keys=_below(NAME) * many),
        "names in no order": Bucket(keys=_of_others(str(n) for n in range(50, 0, -1))),
        "pages in a circle": Bucket(pages=circle),
        "pages without end": Bucket(pages=endless),
        "pages of others without end": Bucket(pages=others_without_end),
        "empty pages": Bucket(pages=empty_pages),
        "a listing that fails late": Bucket(pages=fails_late),
        "no listing": Bucket(pages=lambda: itertools.repeat(b"<html>")),
        "a listing that expands": Bucket(pages=lambda: itertools.repeat(bomb + page(_below("&a12;", NAME)))),
        "a size beyond all memory": Bucket(size=(1 << 64) - 1),
        "a size of nothing": Bucket(size=0),
        "a size below zero": Bucket(size=-1),
        "a time at the start": Bucket(date="0001-01-01T00:00:00Z"),
        "a time at the end": Bucket(date="9999-12-31T23:59:59Z"),
        "a time beyond all calendars": Bucket(date="+262000-01-01T00:00:00Z"),
        "a time that is a text": Bucket(date="yesterday"),
        "an old time of an object": Bucket(change=_with_headers("HEAD", Last_Modified="Mon, 01 Jan 0001 00:00:00 GMT")),
        "no ETag": Bucket(etag=None, change=_with_headers(ETag=None)),
        "a strange ETag": Bucket(etag="\u202e\x1b[31m"),
        "a body without end": Bucket(change=_endless_body),
        "a body that is cut": Bucket(change=_cut),
        "no ranges": Bucket(change=_whole),
        "no such range": Bucket(change=_no_range),
        "another range": Bucket(change=_with_headers(Content_Range="bytes 0-4/1152921504606846976")),
        "a size that is none": Bucket(change=_with_headers(Content_Range="bytes 0-4/99999999999999999999999")),
        "a head of another size": Bucket(change=_with_headers("HEAD", Content_Length=str(1 << 60))),
        "content that changes": Bucket(change=_changing),
        "large content that changes": Bucket({NAME: large}, change=_changing),
        "content that grows": Bucket(change=_growing),
        "puts that are refused": Bucket(put=(412, {}, _error("PreconditionFailed"))),
        "puts that conflict": Bucket(put=(409, {}, _error("ConditionalRequestConflict"))),
        "puts that are forgotten": Bucket(put=(200, {"ETag": '"e"'}, b"")),
        "ETags that change": Bucket(change=_another_etag),
        "conditions that are forbidden": Bucket(put=(400, {}, _error("\x1b[31m\u202e"))),
        "objects that are not there": Bucket({}, keys=_below(NAME)),
    }  # fmt: skip


class HostileServer(http.server.ThreadingHTTPServer):
    """The server of some *buckets*, which runs until :meth:`close`. A bucket's name is ``b`` and its place in them."""

    daemon_threads = True

    def __init__(self, hostile: Iterable[Bucket]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets = {f"b{place}": bucket for place, bucket in enumerate(hostile)}
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Return what obstore needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def handle_error(self, *_: object) -> None:
        pass  # clients may close the connection

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, name, key = (
            urllib.parse.unquote(parts.path).split("/", 2) if parts.path.count("/") > 1 else ("", parts.path[1:], "")
        )
        bucket = self.server.buckets[name]  # type: ignore[attr-defined]
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        status, headers, sent = 200, {}, b""
        if self.command == "POST":
            bucket.restore()
        elif "list-type" in query:
            status, headers, sent = 200, {"Content-Type": "application/xml"}, bucket.page(query)
        else:
            status, headers, sent = bucket.answer(self.command, key, self.headers, body)
        self.send_response(status)
        for header, value in (
            {} if "Content-Length" in headers or status == 204 else {"Content-Length": str(len(sent))}
        ).items():
            self.send_header(header, value)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for part in [sent] if isinstance(sent, bytes) else sent:
            self.wfile.write(part)
        if not isinstance(sent, bytes):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer
