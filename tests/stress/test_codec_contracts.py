"""Codecs at every level, and one of a user's own, keep the contract; a second or so each."""

from __future__ import annotations

import pytest
from checks import needs_zstd
from test_public_codecs import ChecksummedCodec

from neuralib.persistence.codecs import GzipCodec, ZstdCodec
from neuralib.persistence.testing import check_codec


@pytest.mark.parametrize(
    "codec",
    [GzipCodec(0), GzipCodec(9), pytest.param(ZstdCodec(1), marks=needs_zstd), ChecksummedCodec()],
    ids=["gzip at level 0", "gzip at level 9", "zstd at level 1", "checksummed"],
)
def test_codecs_of_all_python_objects_keep_the_contract(codec):
    """Any values."""
    check_codec(codec)
