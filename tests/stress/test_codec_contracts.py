"""Codecs at several levels, and one of a user, keep the contract; each takes about a second."""

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
    """For values of any type."""
    check_codec(codec)
