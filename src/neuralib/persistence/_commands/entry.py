"""The entry point of the command: its arguments, its exit status and its error messages."""

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
List, check and clean up folders of results. The classes of the results are not needed.
No code from a file is run unless you pass --trust."""
_EPILOG = """\
examples:
  neuralib-persistence ls results                    list all results
  neuralib-persistence ls results animal=A00         list the results of one animal
  neuralib-persistence show results/cache-Shuffle-A00-20230101-#0.pkl
  neuralib-persistence verify -r results             check that every file is intact
  neuralib-persistence demo                          run a demonstration

exit status: 0 success; 1 a file is damaged, results differ, or an operation failed; 2 usage error.
Run `neuralib-persistence COMMAND --help` for the options and examples of a command."""

# For each command: the module with the function of the same name, a one-line description, and examples.
_COMMANDS = {
    "ls": ("listing", "list results: classes, keys, counts, sizes", "ls results animal=A00 animal=A01\nls -r --csv . > results.csv\nls results --class lab.results:Shuffle     # reads names, opens few files"),
    "show": ("looking", "show the fields of files: shapes, dtypes, sizes, values", 'show results/cache-Shuffle-A00-20230101-#0.pkl\nshow --json FILE\nshow --class lab/results.py:Shuffle FILE    # with units: Annotated[np.ndarray, "Hz"]'),
    "verify": ("keeping", "check that files are not damaged and that their names match their keys", "verify results && echo all intact\nverify -r --json . > report.json\nverify results --class lab.results:Shuffle   # also checks names that need the class"),
    "du": ("listing", "add up sizes by class or key", "du -r results\ndu results --by animal"),
    "rm": ("keeping", "remove results, after a confirmation prompt", "rm results animal=A00 --dry-run\nrm results animal=A00 --yes"),
    "convert": ("keeping", "compress or decompress results", "convert results --all --to gzip\nconvert FILE.pkl.gz --to pickle --keep"),
    "diff": ("looking", "show the differences between two results", "diff old/cache-Mean-A00.pkl new/cache-Mean-A00.pkl"),
    "demo": ("demo", "save, find and load a few results in a temporary folder", "demo"),
    "completion": ("completion", "write a script for shell completion", 'eval "$(neuralib-persistence completion bash)"'),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the argument parser with all commands."""
    form = argparse.RawDescriptionHelpFormatter
    result = argparse.ArgumentParser(PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
    result.add_argument("--version", action="store_true", help="show the version and exit")
    result.add_argument(
        "--color",
        choices=["auto", "always", "never"],
        default="auto",
        help="when to use colours; auto respects NO_COLOR and FORCE_COLOR",
    )
    commands = result.add_subparsers(metavar="COMMAND", dest="command")
    subparsers = {}
    for name, (_, text, examples) in _COMMANDS.items():
        lines = "\n".join(
            f"  {example if example.startswith('eval') else f'{PROGRAM} {example}'}"
            for example in examples.splitlines()
        )
        subparsers[name] = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"examples:\n{lines}",
            formatter_class=form,
        )
    _add_arguments(subparsers)
    return result


def _add_arguments(subparsers: dict[str, argparse.ArgumentParser]) -> None:
    for name in ("ls", "du"):
        subparsers[name].add_argument(
            "paths",
            nargs="*",
            metavar="FOLDER|key=value",
            help="folders (default: the current folder) and conditions; the same key twice matches either value",
        )
        _add_output(subparsers[name], "--json", "--csv")
    subparsers["ls"].add_argument(
        "--limit", type=_count, metavar="N", help="show only the first N results of each class"
    )
    subparsers["ls"].add_argument(
        "--heads", action="store_true", help="read the head of every file, and mark unreadable files"
    )
    subparsers["ls"].add_argument("-s", "--summary", action="store_true", help="print one line for each class")
    subparsers["du"].add_argument("--by", action="append", metavar="KEY", help="also group by this key")
    subparsers["show"].add_argument("files", nargs="+", metavar="FILE", help="result files")
    subparsers["verify"].add_argument("paths", nargs="+", metavar="FOLDER|FILE", help="folders and files to check")
    subparsers["verify"].add_argument(
        "-q", "--quiet", action="store_true", help="print only damaged and misnamed files"
    )
    for name in ("rm", "convert"):
        subparsers[name].add_argument(
            "paths", nargs="+", metavar="FOLDER|FILE|key=value", help="files, or folders with conditions"
        )
        subparsers[name].add_argument(
            "-n", "--dry-run", action="store_true", help="print what would happen, and change nothing"
        )
        subparsers[name].add_argument("--all", action="store_true", help="select all results of a folder")
    subparsers["rm"].add_argument("-y", "--yes", action="store_true", help="skip the confirmation prompt")
    subparsers["convert"].add_argument(
        "--to", choices=["gzip", "pickle"], required=True, help="format of the new files"
    )
    subparsers["convert"].add_argument("--keep", action="store_true", help="keep the original files")
    subparsers["convert"].add_argument("--level", type=int, choices=range(10), metavar="0-9", help="compression level")
    subparsers["diff"].add_argument("a", metavar="A", help="first result file")
    subparsers["diff"].add_argument("b", metavar="B", help="second result file")
    subparsers["completion"].add_argument("shell", choices=["bash", "zsh"], help="shell to write the script for")
    for name in ("show", "verify", "diff"):
        _add_output(subparsers[name], "--json")
    for name in ("show", "diff"):
        subparsers[name].add_argument(
            "--trust", action="store_true", help="load all objects; this can run code from the file"
        )
    for name in ("ls", "du", "show", "verify", "rm", "convert"):
        subparsers[name].add_argument(
            "--class",
            dest="class_",
            metavar="MODULE:CLASS",
            help="import this class, to show units"
            if name == "show"
            else "import this class, and use only its results",
        )
    for name in ("ls", "du", "verify", "rm", "convert"):
        subparsers[name].add_argument("-r", "--recursive", action="store_true", help="include subfolders")


def _add_output(subparser: argparse.ArgumentParser, *names: str) -> None:
    group = subparser.add_mutually_exclusive_group()
    for name in names:
        group.add_argument(name, action="store_true", help=f"write the output as {name[2:].upper()}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of results")
    return int(text)


def _parsed(command_parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse *arguments*. Files and conditions may come before, between and after the options."""
    options, rest = command_parser.parse_known_args(arguments)
    positionals = [getattr(options, name) for name in ("paths", "files") if hasattr(options, name)]
    unknown = [argument for argument in rest if argument.startswith("-") or not positionals]
    if unknown:
        command_parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        positionals[0].extend(rest)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    :param arguments: the arguments without the name of the program, ``sys.argv[1:]`` by default
    """
    command_parser = parser()
    options = _parsed(command_parser, arguments)
    if options.version:
        from importlib import metadata

        print(f"{PROGRAM} {metadata.version(PROGRAM)}")  # noqa: T201 - the requested output
        return 0
    if options.command is None:
        command_parser.print_help()
        return 2
    options.parser = command_parser
    try:
        return _run(options)
    except BrokenPipeError:
        # The reader closed the pipe. Without the redirection, flushing the buffer at exit would fail again.
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
            # A file name may contain characters that the terminal's encoding does not have.
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    module = importlib.import_module(f"neuralib.persistence._commands.{_COMMANDS[options.command][0]}")
    try:
        status: int = getattr(module, options.command)(options, Screen(options.color))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (UsageError, PersistenceError) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    return status


def _failed(message: str) -> int:
    from neuralib.persistence._showing.previews import printable

    sys.stdout.flush()
    sys.stderr.write(f"{PROGRAM}: {printable(message)}\n")
    return 2
