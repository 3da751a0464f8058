"""Codecs: the formats of results, and the base class for formats of your own.

A handler takes a codec: ``FileHandler(Result, "results", codec=JsonCodec())``. Try a codec of your own with
:func:`neuralib.persistence.testing.check_codec`.
"""

from __future__ import annotations

from neuralib.persistence._bytes.sources import BytesSource, Sink, Source
from neuralib.persistence._codecs.base import Codec, Head
from neuralib.persistence._codecs.pickles import GzipCodec, PickleCodec, ZstdCodec

__all__ = ["BytesSource", "Codec", "GzipCodec", "Head", "PickleCodec", "Sink", "Source", "ZstdCodec"]
