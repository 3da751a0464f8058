"""Servers of object stores on this machine, and a proxy that drops, delays and repeats requests."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import os
import random
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

BUCKET = "bucket"
_ACCOUNT = "devstoreaccount1"  # the account of azurite, whose key is public
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# With one thread only: moto checks that a name is free and then stores it, which is atomic only if it serves one request at a time.
_MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A server that runs until :meth:`close`. :attr:`environment` is what obstore needs to reach it."""

    def __init__(self, command):
        self.port = free_port()
        self.folder = tempfile.mkdtemp()
        words = [word.format(port=self.port, folder=self.folder) for word in command]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
        self._await()

    def _await(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                self.make_bucket()
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    raise
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.close()
                    raise
                time.sleep(0.1)
            else:
                return

    def close(self):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _put(self, path, headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", method="PUT", headers=headers)
        urllib.request.urlopen(request, timeout=10).close()


class Moto(Server):
    """A server that answers like S3."""

    scheme = "s3"

    def __init__(self):
        super().__init__([sys.executable, "-c", _MOTO, "{port}"])

    def make_bucket(self):
        self._put(BUCKET, {})

    def environment(self, port):
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


class Azurite(Server):
    """A server that answers like Azure."""

    scheme = "az"

    def __init__(self):
        program = azurite()
        super().__init__(
            [program, "--silent", "--skipApiVersionCheck", "--location", "{folder}", "--blobPort", "{port}"]
            + ["--disableTelemetry"]
        )

    def make_bucket(self):
        date = email.utils.formatdate(usegmt=True)
        signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:2021-08-06\n/{_ACCOUNT}/{_ACCOUNT}/{BUCKET}\nrestype:container"
        signature = base64.b64encode(
            hmac.new(base64.b64decode(_KEY), signed.encode(), hashlib.sha256).digest()
        ).decode()
        headers = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0"}
        self._put(
            f"{_ACCOUNT}/{BUCKET}?restype=container", {**headers, "Authorization": f"SharedKey {_ACCOUNT}:{signature}"}
        )

    def environment(self, port):
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }


def azurite():
    """Return the path of the program from ``npm install azurite``, or None if it is not on the path."""
    return shutil.which("azurite-blob") or shutil.which("azurite-blob", path=os.environ.get("AZURITE_BIN"))


class Proxy(socketserver.ThreadingTCPServer):
    """Passes requests on to *port*. Some get lost, or their answers; some are sent twice, or late.

    :param faults: the share of the requests for each of ``dropped``, ``unanswered``, ``doubled`` and ``delayed``
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, seed=0, **faults):
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target, self.faults = port, faults
        self.stopped = False
        self.counts = Counter()
        self.lock = threading.Lock()
        self._random = random.Random(seed)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        pass  # clients may close the connection

    def fault(self, method):
        """Return what happens to the next request: one of the faults, or an empty text."""
        with self.lock:
            self.counts[method] += 1
            if self.stopped:
                return "dropped"
            drawn = self._random.random()
            for kind, share in self.faults.items():
                if drawn < share:
                    self.counts[kind] += 1
                    return kind
                drawn -= share
            return ""

    def close(self):
        self.shutdown()
        self.server_close()


class _Passing(socketserver.StreamRequestHandler):
    def handle(self):
        request = self._request()
        if not request:
            return
        fault = self.server.fault(request.split(b" ", 1)[0].decode())
        if fault == "dropped":
            return
        answer = self._answer(request)
        if fault == "doubled":
            answer = self._answer(request)
        if fault == "delayed":
            time.sleep(0.2)
        if fault != "unanswered":
            with contextlib.suppress(OSError):
                self.wfile.write(answer)

    def _request(self):
        lines = []
        size = 0
        while line := self.rfile.readline():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
            if name.lower() == b"expect":
                continue
            if line == b"\r\n":
                return b"".join([*lines, b"Connection: close\r\n\r\n", self.rfile.read(size)])
            if name.lower() != b"connection":
                lines.append(line)
        return b""

    def _answer(self, request):
        with socket.create_connection(("127.0.0.1", self.server.target), timeout=60) as target:
            target.sendall(request)
            parts = []
            while part := target.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)
