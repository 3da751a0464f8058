"""Fuzz the readers of files of unknown origin, guided by coverage: ``python tests/stress/fuzz_untrusted.py [FOLDER]``.

Needs ``atheris`` from PyPI. The first byte of an input says how the rest is read: as a pickle, as a whole file with and
without a trailer that fits, by hopping over the large arrays, mapped, compressed, or as the head of a file. The hops are those of the trusted
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
        "neuralib.persistence._codecs.framed_reader",
        "neuralib.persistence._codecs.layout",
        "neuralib.persistence._trust.allowance",
        "neuralib.persistence._trust.instructions",
        "neuralib.persistence._trust.machine",
        "neuralib.persistence._trust.outline",
        "neuralib.persistence._trust.plain_arrays",
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
    found = hostile_files.read_somehow(data[0], data[1:])
    strange = hostile_files.strange_parts(found)
    if strange:
        raise AssertionError(f"the pickle made {strange}")


def write_corpus(folder: Path) -> None:
    """Real files of every kind, each in every way of reading."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {**hostile_files.two_programs(), **hostile_files.failing(), **hostile_files.deep(60)}
    for n, content in enumerate([*hostile_files.real_pickles(), *kinds.values()]):
        for way in range(len(hostile_files.WAYS)):
            data = gzip.compress(content) if hostile_files.WAYS[way] == "compressed" else content
            (folder / f"seed-{n}-{way}").write_bytes(bytes([way]) + data)


def main() -> None:
    before, _, after = " ".join(sys.argv[1:]).partition("--")
    folder = Path(before.strip() or "fuzz-corpus")
    write_corpus(folder)
    names = [*plain_data.TABLE, *plain_data.RENAMED_MODULES]
    tokens = {part for it in names for part in it.rsplit(".", 1)}
    tokens |= {"c{0}\n{2}\n".format(*it.rpartition(".")) for it in names}
    dictionary = Path(f"{folder}.dict")
    dictionary.write_text("".join('"' + "".join(f"\\x{ord(c):02x}" for c in it) + '"\n' for it in sorted(tokens)))
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *OPTIONS, *after.split(), str(folder)], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
