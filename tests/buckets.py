"""A bucket in memory, made with obstore, whose requests are counted and can be made to fail."""

from __future__ import annotations

import threading
from datetime import timedelta

import obstore.store
from obstore import exceptions

from neuralib.persistence.stores import ObjectStore

RETRY_AT_ONCE = {"backoff": {"init_backoff": timedelta(0)}, "max_retries": 4}


def lost_answer():
    """Return the error that obstore raises when a request got no answer."""
    return exceptions.GenericError(
        "Generic S3 error: Error performing PUT http://host/bucket/a?X-Amz-Signature=SECRET in 3s - HTTP error: error sending request"
    )


class S3Store:
    """A client like one of obstore. :attr:`faults` maps a kind of request to the faults of the next ones, in order.

    - ``None``: no fault
    - ``"dropped"``: the request does not arrive
    - ``"unanswered"``: the request arrives, its answer does not
    - ``"doubled"``: the request arrives twice, and the second is answered
    - an exception: raised in place of an answer
    """

    prefix = "results"
    config = {"bucket": "bucket"}

    def __init__(self):
        self.inner = obstore.store.MemoryStore()
        self.requests = []
        self.faults = {}
        self.page_names = 1000
        self.lock = threading.Lock()

    def _request(self, kind, act):
        with self.lock:
            self.requests.append(kind)
            waiting = self.faults.get(kind)
            fault = waiting.pop(0) if waiting else None
        if fault is None:
            return act()
        if isinstance(fault, Exception):
            raise fault
        if fault == "dropped":
            raise lost_answer()
        try:
            answer = act()
        except Exception:
            if fault != "doubled":
                raise lost_answer() from None
            answer = None
        if fault == "unanswered":
            raise lost_answer()
        return act() if fault == "doubled" else answer

    def put(self, name, data, *, mode="overwrite", attributes=None, use_multipart=None):
        kind = mode if isinstance(mode, str) else "update"
        return self._request(f"put {kind}", lambda: self.inner.put(name, data, mode=mode, attributes=attributes))

    def get(self, name, *, options=None):
        kind = "head" if (options or {}).get("head") else "get"
        return self._request(kind, lambda: self.inner.get(name, options=options))

    def head(self, name):
        return self._request("head", lambda: self.inner.head(name))

    def delete(self, name):
        return self._request("delete", lambda: self.inner.delete(name))

    def list(self, *, offset=None, chunk_size=50):
        for page in self.inner.list(offset=offset, chunk_size=min(chunk_size, self.page_names)):
            yield self._request("list", lambda: page)  # noqa: B023

    def asked(self):
        """Return the requests since the last call."""
        found, self.requests = self.requests, []
        return found


def bucket(**options):
    """Return a store on a new bucket whose server supports conditions, and its client."""
    client = S3Store()
    store = ObjectStore(client, retry_config=RETRY_AT_ONCE, **options)
    return store, client


def probed_bucket(**options):
    """Return a store whose server was tried already, and its client."""
    store, client = bucket(**options)
    store._bucket.require("create")
    store._bucket.require("replace")
    client.asked()
    return store, client
