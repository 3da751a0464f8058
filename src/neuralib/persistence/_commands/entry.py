"""The entry point of the command: its arguments, its exit status and its error messages."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from neuralib.persistence._errors import PersistenceError
from neuralib.persistence._messages import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    "show": ("looking", "show the fields of files: shapes, dtypes, sizes, values", "show results/cache-Shuffle-A00-20230101-#0.pkl\nshow --json FILE"),
    "verify": ("keeping", "check that files are not damaged and that their names match their keys", "verify results && echo all intact\nverify -r --json . > report.json\nverify results --class lab.results:Shuffle   # also checks names that need the class"),
    "du": ("listing", "add up sizes by class or key", "du -r results\ndu results --by animal"),
    "rm": ("keeping", "remove results, after a confirmation prompt", "rm results animal=A00 --dry-run\nrm results animal=A00 --yes"),
    "convert": ("keeping", "compress or decompress results", "convert results --all --to zstd\nconvert FILE.pkl.gz --to plain --keep"),
    "migrate": ("migration", "update the files of a class to its current names and fields", "migrate results --class lab.results:Shuffle --dry-run\nmigrate -r results --class lab.py:Shuffle --to gzip --yes\nmigrate results --class lab.py:Session --from Trial --yes   # the class had another name"),
    "pack": ("moving", "move the results of a folder into an archive", "pack results results.sqlar\npack results results.sqlar --keep   # copies"),
    "unpack": ("moving", "move the results of an archive into a folder", "unpack results.sqlar results"),
    "merge": ("moving", "copy the results of several archives and folders into one", "merge run1.sqlar run2.sqlar -o all.sqlar"),
    "diff": ("looking", "show the differences between two results", "diff old/cache-Mean-A00.pkl new/cache-Mean-A00.pkl"),
    "run": ("running", "compute the results that are missing", "run lab.rates:RatesOptions --grid animal=A00,B01 --grid plane=0:4 --executor processes:8\nrun lab.rates:RatesOptions --grid plane=0:4 --dry-run\nrun lab.rates:RatesOptions --grid plane=0:4 --executor slurm:timeout_min=60,slurm_partition=short"),
    "demo": ("demo", "save, find and load a few results in a temporary folder", "demo"),
    "completion": ("completion", "write a script for shell completion", 'eval "$(neuralib-persistence completion bash)"'),
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))  # a shell may have made an argument of the name of a file


def parser() -> argparse.ArgumentParser:
    """Return the argument parser with all commands."""
    form = argparse.RawDescriptionHelpFormatter
    result = _Parser(PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form)
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


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


# For each argument: its commands, its names, and the options of argparse's add_argument.
_ARGUMENTS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("ls du", ["paths"], {"nargs": "*", "metavar": "FOLDER|key=value", "help": "folders (default: the current folder) and conditions; the same key twice matches either value"}),
    ("ls", ["--limit"], {"type": _count, "metavar": "N", "help": "show only the first N results of each class"}),
    ("ls", ["--heads"], {"action": "store_true", "help": "read the head of every file, and mark unreadable files"}),
    ("ls", ["-s", "--summary"], {"action": "store_true", "help": "print one line for each class"}),
    ("du", ["--by"], {"action": "append", "metavar": "KEY", "help": "also group by this key"}),
    ("show", ["files"], {"nargs": "+", "metavar": "FILE", "help": "result files"}),
    ("verify", ["paths"], {"nargs": "+", "metavar": "FOLDER|FILE", "help": "folders and files to check"}),
    ("verify", ["-q", "--quiet"], {"action": "store_true", "help": "print only damaged and misnamed files"}),
    ("rm convert", ["paths"], {"nargs": "+", "metavar": "FOLDER|FILE|key=value", "help": "files, or folders with conditions"}),
    ("run", ["target"], {"metavar": "MODULE:OPTIONS", "help": "a class of options, or an options object; also file.py:OPTIONS"}),
    ("run", ["--grid"], {"action": "append", "default": [], "metavar": "KEY=VALUES", "help": "values of a key, separated by commas, or a range such as 0:4; every combination is computed. Other keys have the values of the options"}),
    ("run", ["--executor"], {"metavar": "ENGINE", "help": "processes:8, threads:4, dask://host:8786, ray, ray://host:10001, or slurm:timeout_min=60,jobs=100,...; default: this process"}),
    ("run", ["--dest"], {"metavar": "FOLDER", "help": "folder of the results (default: the one of the options)"}),
    ("run", ["--repeat"], {"type": _count, "default": 1, "metavar": "N", "help": "how many results of each, if they are numbered"}),
    ("run", ["--share"], {"metavar": "I/N|SCHEDULER", "help": "compute one share: 0/4, or slurm, sge, lsf, pbs:4 in a job array"}),
    ("run", ["--claims"], {"action": "store_true", "help": "skip results that another run with --claims is computing"}),
    ("run", ["--retries"], {"type": _count, "default": 0, "metavar": "N", "help": "how often to try a failed result again"}),
    ("run", ["--timeout"], {"type": _seconds, "metavar": "SECONDS", "help": "how long each computation may take"}),
    ("run", ["--save"], {"choices": ["worker", "driver"], "default": "worker", "help": "who saves the results (default: worker)"}),
    ("pack", ["sources"], {"nargs": 1, "metavar": "FOLDER", "help": "the folder"}),
    ("pack", ["target"], {"metavar": "ARCHIVE", "help": "the archive, new or not; its name ends with .sqlar"}),
    ("unpack", ["sources"], {"nargs": 1, "metavar": "ARCHIVE", "help": "the archive"}),
    ("unpack", ["target"], {"metavar": "FOLDER", "help": "the folder, new or not"}),
    ("merge", ["sources"], {"nargs": "+", "metavar": "PLACE", "help": "archives and folders, whose results stay"}),
    ("merge", ["-o", "--output"], {"dest": "target", "required": True, "metavar": "PLACE", "help": "the archive or folder to copy them into, new or not"}),
    ("pack unpack", ["--keep"], {"action": "store_true", "help": "keep the originals; without this, each is removed after its copy was compared"}),
    ("pack unpack merge", ["--all"], {"action": "store_true", "help": "include files that are not pickles"}),
    ("rm convert migrate run pack unpack merge", ["-n", "--dry-run"], {"action": "store_true", "help": "print what would happen, and change nothing"}),
    ("rm convert", ["--all"], {"action": "store_true", "help": "select all results of a folder"}),
    ("migrate", ["paths"], {"nargs": "+", "metavar": "FOLDER", "help": "folders or archives of results"}),
    ("migrate", ["--from"], {"dest": "renamed_from", "action": "append", "metavar": "NAME", "help": "a former name of the class, as in the file names"}),
    ("migrate", ["--to"], {"choices": ["plain", "gzip", "zstd"], "help": "format of the files (default: unchanged)"}),
    ("rm migrate", ["-y", "--yes"], {"action": "store_true", "help": "skip the confirmation prompt"}),
    ("rm", ["--force"], {"action": "store_true", "help": "also remove files that are not results"}),
    ("convert", ["--to"], {"choices": ["plain", "gzip", "zstd"], "required": True, "help": "format of the new files"}),
    ("convert", ["--keep"], {"action": "store_true", "help": "keep the original files"}),
    ("convert", ["--level"], {"type": int, "metavar": "N", "help": "compression level: gzip 0 to 9, zstd 1 to 22"}),
    ("diff", ["a"], {"metavar": "A", "help": "first result file"}),
    ("diff", ["b"], {"metavar": "B", "help": "second result file"}),
    ("completion", ["shell"], {"choices": ["bash", "zsh"], "help": "shell to write the script for"}),
    ("show diff migrate", ["--trust"], {"action": "store_true", "help": "load all objects; this can run code from the file"}),
    ("ls du verify rm convert migrate", ["--class"], {"dest": "class_", "metavar": "MODULE:CLASS", "help": "import this class, and use only its results"}),
    ("ls du verify rm convert migrate", ["-r", "--recursive"], {"action": "store_true", "help": "include subfolders"}),
    ("ls du show verify diff migrate run", ["--json"], {"action": "store_const", "const": "json", "dest": "output", "help": "write the output as JSON"}),
    ("ls du run", ["--csv"], {"action": "store_const", "const": "csv", "dest": "output", "help": "write the output as CSV"}),
    ("ls du run", ["--csv-safe"], {"action": "store_const", "const": "csv-safe", "dest": "output", "help": "write the output as CSV for spreadsheets: an apostrophe precedes text that would run as a formula"}),
]  # fmt: skip


def _add_arguments(subparsers: Mapping[str, argparse.ArgumentParser]) -> None:
    outputs: dict[str, Any] = {}
    for commands, names, options in _ARGUMENTS:
        for command in commands.split():
            target: Any = subparsers[command]
            if options.get("dest") == "output":  # one of them at most
                if command not in outputs:
                    outputs[command] = target.add_mutually_exclusive_group()
                target = outputs[command]
            target.add_argument(*names, **options)


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
    from neuralib.persistence._commands.entries import UsageError, targets
    from neuralib.persistence._commands.screen import Screen, failure

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A file name may contain characters that the terminal's encoding does not have.
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    module = importlib.import_module(f"neuralib.persistence._commands.{_COMMANDS[options.command][0]}")
    try:
        if hasattr(options, "paths"):
            options.paths, options.wanted = targets(options.paths)
        status: int = getattr(module, options.command)(options, Screen(options.color))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (UsageError, PersistenceError, ImportError, OSError) as error:  # ImportError: an extra is not installed
        sys.stdout.flush()
        failure(error)
        return 2
    return status
