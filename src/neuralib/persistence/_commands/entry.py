"""Where the command begins: its arguments, its exit status, and what it says when something is wrong."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

from neuralib.persistence._errors import PersistenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "neuralib-persistence"
_DESCRIPTION = """\
See, check and tidy folders of results, without their classes and without trusting a file:
nothing in a file is run unless --trust is given."""
_EPILOG = """\
examples:
  neuralib-persistence ls results                    what is there
  neuralib-persistence ls results animal=A00         of one animal
  neuralib-persistence show results/cache-Shuffle-A00-20230101-#0.pkl
  neuralib-persistence verify -r results             is every file whole?
  neuralib-persistence demo                          see it work, in a second

exit status: 0 all is well; 1 a file is damaged, results differ, or something failed; 2 wrong use.
`neuralib-persistence COMMAND --help` has the options and examples of each command."""

# By command: the module with the function of that name, one line about it, and examples.
_COMMANDS = {
    "ls": ("listing", "list results: classes, keys, counts, sizes", "ls results animal=A00 animal=A01\nls -r --csv . > results.csv\nls results --class lab.results:Shuffle     # by names alone, which opens no file"),
    "show": ("looking", "show what is in files: fields, shapes, dtypes, sizes", "show results/cache-Shuffle-A00-20230101-#0.pkl\nshow --json FILE"),
    "verify": ("keeping", "read files to their end and say which are damaged, or have another name than their keys say", "verify results && echo all whole\nverify -r --json . > report.json\nverify results --class lab.results:Shuffle   # names held against keys exactly"),
    "du": ("listing", "add up sizes by class or key", "du -r results\ndu results --by animal"),
    "rm": ("keeping", "remove results, after a question", "rm results animal=A00 --dry-run\nrm results animal=A00 --yes"),
    "convert": ("keeping", "compress results, or make them plain again", "convert results --all --to zstd\nconvert FILE.pkl.gz --to plain --keep"),
    "diff": ("looking", "show how two results differ", "diff old/cache-Mean-A00.pkl new/cache-Mean-A00.pkl"),
    "demo": ("demo", "save, find and load a few results in a temporary folder", "demo"),
    "completion": ("completion", "write what makes a shell complete this command", 'eval "$(neuralib-persistence completion bash)"'),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    made.add_argument("--version", action="store_true", help="show the version and exit")
    made.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="NO_COLOR and FORCE_COLOR count too"
    )
    commands = made.add_subparsers(metavar="COMMAND", dest="command")
    parts = {}
    for name, (_, text, examples) in _COMMANDS.items():
        lines = "\n".join(f"  {it if it.startswith('eval') else f'{PROGRAM} {it}'}" for it in examples.splitlines())
        parts[name] = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n{lines}",
            formatter_class=form,
        )
    _add_arguments(parts)
    return made


def _add_arguments(parts: dict[str, argparse.ArgumentParser]) -> None:
    for name in ("ls", "du"):
        parts[name].add_argument(
            "paths", nargs="*", metavar="FOLDER|key=value", help="the folder here by default; a key twice: either value"
        )
        _add_output(parts[name], "--json", "--csv")
    parts["ls"].add_argument("--limit", type=_count, metavar="N", help="show the first N of each class")
    parts["ls"].add_argument("--heads", action="store_true", help="look into each file: also tells which can't be read")
    parts["ls"].add_argument("-s", "--summary", action="store_true", help="one line for each class")
    parts["du"].add_argument("--by", action="append", metavar="KEY", help="by the values of this key too")
    parts["show"].add_argument("files", nargs="+", metavar="FILE")
    parts["verify"].add_argument("paths", nargs="+", metavar="FOLDER|FILE")
    parts["verify"].add_argument("-q", "--quiet", action="store_true", help="name damaged files only")
    for name in ("rm", "convert"):
        parts[name].add_argument("paths", nargs="+", metavar="FOLDER|FILE|key=value")
        parts[name].add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")
        parts[name].add_argument("--all", action="store_true", help="all results of a folder")
    parts["rm"].add_argument("-y", "--yes", action="store_true", help="don't ask")
    parts["rm"].add_argument("--force", action="store_true", help="also files that are no results")
    parts["convert"].add_argument("--to", choices=["plain", "gzip", "zstd"], required=True)
    parts["convert"].add_argument("--keep", action="store_true", help="keep the source")
    parts["convert"].add_argument("--level", type=int, metavar="N", help="of compression: gzip 0 to 9, zstd 1 to 22")
    parts["diff"].add_argument("a", metavar="A")
    parts["diff"].add_argument("b", metavar="B")
    parts["completion"].add_argument("shell", choices=["bash", "zsh"])
    for name in ("show", "verify", "diff"):
        _add_output(parts[name], "--json")
    for name in ("show", "diff"):
        parts[name].add_argument("--trust", action="store_true", help="load all objects: code in the file is run")
    for name in ("ls", "du", "verify", "rm", "convert"):
        parts[name].add_argument(
            "--class", dest="class_", metavar="MODULE:CLASS", help="of this class, which is imported"
        )
    for name in ("ls", "du", "verify", "rm", "convert"):
        parts[name].add_argument("-r", "--recursive", action="store_true", help="folders inside too")


def _add_output(part: argparse.ArgumentParser, *names: str) -> None:
    group = part.add_mutually_exclusive_group()
    for it in names:
        group.add_argument(it, action="store_true", help=f"write {it[2:].upper()}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of results")
    return int(text)


def _parsed(made: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options that *words* give; files and keys may stand before, between and after them."""
    options, rest = made.parse_known_args(words)
    places = [getattr(options, it) for it in ("paths", "files") if hasattr(options, it)]
    unknown = [it for it in rest if it.startswith("-") or not places]
    if unknown:
        made.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        places[0].extend(rest)
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    made = parser()
    options = _parsed(made, words)
    if options.version:
        from importlib import metadata

        print(f"{PROGRAM} {metadata.version(PROGRAM)}")  # noqa: T201 - what was asked for
        return 0
    if options.command is None:
        made.print_help()
        return 2
    options.parser = made
    try:
        return _run(options)
    except BrokenPipeError:
        # Whoever read has seen enough. What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    from neuralib.persistence._commands.entries import UsageError
    from neuralib.persistence._commands.screen import Screen

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Names of any origin, on a terminal of any encoding.
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    module = importlib.import_module(f"neuralib.persistence._commands.{_COMMANDS[options.command][0]}")
    try:
        status: int = getattr(module, options.command)(options, Screen(options.color))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (UsageError, PersistenceError) as error:
        return _failed(str(error))
    except ImportError as error:  # what reads zstd, of Python before 3.14
        return _failed("; ".join([str(error), *getattr(error, "__notes__", ())]))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    return status


def _failed(message: str) -> int:
    from neuralib.persistence._showing.previews import printable

    sys.stdout.flush()
    sys.stderr.write(f"{PROGRAM}: {printable(message)}\n")
    return 2
