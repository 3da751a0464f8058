"""A server that answers as Google Cloud Storage does to obstore: its XML interface, with generations, and a bucket in memory."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from email.utils import formatdate
from typing import NamedTuple
from xml.sax.saxutils import escape

PAGE_NAMES = 1000


class StoredObject(NamedTuple):
    data: bytes
    generation: int
    """No two have the same, also of one content."""
    metadata: dict[str, str]
    time_s: float

    def headers(self):
        return {
            "ETag": etag_of(self.data),
            "Last-Modified": formatdate(self.time_s, usegmt=True),
            "Content-Length": str(len(self.data)),
            "x-goog-generation": str(self.generation),
            **self.metadata,
        }

    def entry(self, key):
        """Return what a listing says of it, which is the time to the millisecond."""
        date = datetime.fromtimestamp(self.time_s, timezone.utc).isoformat(timespec="milliseconds")
        return (
            f"<Contents><Key>{escape(key)}</Key><Generation>{self.generation}</Generation><LastModified>{date}</LastModified>"
            f"<ETag>{etag_of(self.data)}</ETag><Size>{len(self.data)}</Size></Contents>"
        )


def etag_of(data):
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 - as Google does; equal contents have one


def error(code):
    return f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode()


class Google(http.server.ThreadingHTTPServer):
    """The server, in threads of this process, until :meth:`close`. :attr:`environment` is what obstore needs to reach it."""

    scheme = "gs"
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_port
        self.objects = {}
        self.generations = time.time_ns() // 1000  # microseconds, as Google's
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def environment(self, port):
        account = {"gcs_base_url": f"http://127.0.0.1:{port}", "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}

    def handle_error(self, *_):
        pass  # clients may close the connection

    def close(self):
        self.shutdown()
        self.server_close()

    def answer(self, method, key, headers, body):
        """Return status, headers and body of the answer to a request for the object *key*."""
        with self.lock:  # looking whether a condition holds and acting on it are one step
            there = self.objects.get(key)
            wanted = headers.get("x-goog-if-generation-match")
            if wanted is not None and int(wanted) != (0 if there is None else there.generation):
                return 412, {}, error("PreconditionFailed")
            if method == "PUT":
                self.generations += 1
                metadata = {name: value for name, value in headers.items() if name.lower().startswith("x-goog-meta-")}
                self.objects[key] = there = StoredObject(body, self.generations, metadata, time.time())
                return 200, {name: there.headers()[name] for name in ("ETag", "x-goog-generation")}, b""
            if there is None:
                return 404, {}, error("NoSuchKey")
            if method == "DELETE":
                del self.objects[key]
                return 204, {}, b""
        known = there.headers()
        if headers.get("If-Match", known["ETag"]) != known["ETag"]:  # which only reading heeds
            return 412, {}, error("PreconditionFailed")
        parts = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
        if method == "HEAD" or parts is None:
            return 200, known, there.data
        first, last = parts.groups()
        size = len(there.data)
        begin = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if begin >= end:
            return 416, {}, error("InvalidRange")
        known |= {"Content-Length": str(end - begin), "Content-Range": f"bytes {begin}-{end - 1}/{size}"}
        return 206, known, there.data[begin:end]

    def listing(self, query):
        """Return a page of the names that begin with a prefix, in order; the next one begins after its last name."""
        with self.lock:
            objects = dict(self.objects)
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = sorted(key for key in objects if key.startswith(query.get("prefix", "")) and key > after)
        page = keys[:PAGE_NAMES]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > len(page) else ""
        found = "".join(objects[key].entry(key) for key in page)
        return f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>{more}{found}</ListBucketResult>".encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def _answer(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = urllib.parse.unquote(parts.path).removeprefix("/").partition("/")[2]  # the bucket stands before it
        query = dict(urllib.parse.parse_qsl(parts.query))
        if "list-type" in query:
            status, headers, sent = 200, {"Content-Type": "application/xml"}, self.server.listing(query)
        else:
            status, headers, sent = self.server.answer(self.command, key, self.headers, body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(sent)), **headers}.items():
            self.send_header(name, value)
        if self.close_connection:  # else a client would use it again
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    do_GET = do_HEAD = do_PUT = do_DELETE = _answer
