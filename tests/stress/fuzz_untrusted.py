"""Fuzz the readers of files of unknown origin, guided by coverage: ``python tests/stress/fuzz_untrusted.py [FOLDER]``.

Needs ``atheris`` from PyPI. The first byte of an input says how the rest is read: as a pickle, as a whole file with and
without a card and an end that fit, by hopping over the large arrays, mapped, compressed, or as the head of a file. The hops are those of the trusted
reader too; the pickle itself is read without trust, so nothing of the input runs.

An input may end in the errors that the readers document, and in nothing else: no crash, no other exception, no more
than a minute, no more than ``-rss_limit_mb``. What libFuzzer takes as options follows ``--``::

    python tests/stress/fuzz_untrusted.py /tmp/corpus -- -max_total_time=3600
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "neuralib.persistence._codecs.frames",
        "neuralib.persistence._codecs.framed_content",
        "neuralib.persistence._codecs.framed_reader",
        "neuralib.persistence._codecs.card",
        "neuralib.persistence._codecs.compression",
        "neuralib.persistence._codecs.pickles",
        "neuralib.persistence._trust.allowance",
        "neuralib.persistence._trust.instructions",
        "neuralib.persistence._trust.machine",
        "neuralib.persistence._trust.outline",
        "neuralib.persistence._trust.plain_arrays",
        "neuralib.persistence._trust.plain_generators",
        "neuralib.persistence._trust.plain_data",
        "neuralib.persistence._trust.plain_values",
        "neuralib.persistence._trust.stand_ins",
        "neuralib.persistence._trust.untrusted",
    ]
):
    from neuralib.persistence._codecs import frames  # noqa: F401 - to have it instrumented
    from neuralib.persistence._trust import outline, plain_data, untrusted  # noqa: F401

sys.path.insert(0, str(Path(__file__).parents[1]))

import hostile_files  # noqa: E402 - after what is instrumented

OPTIONS = ["-timeout=60", "-rss_limit_mb=1000", "-max_len=4096"]


def test_one_input(data: bytes) -> None:
    if not data:
        return
    reader = hostile_files.READERS[data[0] % len(hostile_files.READERS)]
    forbidden = hostile_files.forbidden_types(hostile_files.read_or_error(reader, data[1:]))
    if forbidden:
        raise AssertionError(f"the pickle created {forbidden}")


def write_corpus(folder: Path) -> None:
    """Write real and hostile files, each once for every reader; the first byte chooses the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = hostile_files.corpus(400)
    for n, content in enumerate([*hostile_files.real_pickles(), *kinds.values()]):
        for choice, reader in enumerate(hostile_files.READERS):
            data = gzip.compress(content) if reader == "compressed" else content
            (folder / f"seed-{n}-{choice}").write_bytes(bytes([choice]) + data)


def main() -> None:
    before, _, after = " ".join(sys.argv[1:]).partition("--")
    folder = Path(before.strip() or "fuzz-corpus")
    write_corpus(folder)
    names = [*plain_data.TABLE, *plain_data.RENAMED_MODULES]
    tokens = {part for name in names for part in name.rsplit(".", 1)}
    tokens |= {"c{0}\n{2}\n".format(*name.rpartition(".")) for name in names}
    dictionary = Path(f"{folder}.dict")
    dictionary.write_text("".join('"' + "".join(f"\\x{ord(c):02x}" for c in token) + '"\n' for token in sorted(tokens)))
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *OPTIONS, *after.split(), str(folder)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
