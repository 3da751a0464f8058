"""The examples in the documentation's pages, run as a reader would: top to bottom, in one session and one folder.

By the language of a block: ``python`` is executed; ``pycon`` is a session whose output must be what the page says
(``...`` stands for anything); ``console`` are shell commands after ``$``, with their output or, where there is none,
with success. Other languages are shown only. A comment on the line before a block says more:

- ``<!-- file: run.py -->``: the block is the content of this file;
- ``<!-- needs: argclz -->``: the block is run only where that module is;
- ``<!-- not run: why -->``: the block is shown only.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^(?:<!-- (?P<note>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """One example."""

    note: str
    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the examples of *page*."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["note"] or "", match["language"], match["code"], text.count("\n", 0, match.start("code")))
        for match in BLOCK.finditer(text)
    ]


def run(page: Path, module: types.ModuleType) -> int:
    """Run the examples of *page* in the working directory, their names in *module*; return how many there were."""
    count = 0
    for block in blocks(page):
        count += _run(block, page, module)
    return count


def _run(block: Block, page: Path, module: types.ModuleType) -> bool:
    kind, _, what = block.note.partition(": ")
    if kind == "not run" or (kind == "needs" and importlib.util.find_spec(what) is None):
        return False
    if kind == "file":
        Path(what).write_text(block.code, encoding="utf-8")
    elif block.language == "python":
        exec(compile("\n" * block.line + block.code, str(page), "exec"), vars(module))
    elif block.language == "pycon":
        _run_session(block, page, module)
    elif block.language == "console":
        _run_commands(block, page)
    else:
        return False
    return True


def _run_session(block: Block, page: Path, module: types.ModuleType) -> None:
    session = doctest.DocTestParser().get_doctest(block.code, vars(module), page.name, str(page), block.line)
    session.globs = vars(module)  # and not the copy that the page made
    said: list[str] = []
    found = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(session, out=said.append, clear_globs=False)
    assert not found.failed, "".join(said)


def _run_commands(block: Block, page: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C",
    }
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command = re.match(r"(?:.*\\\n)*.*\n?", part).group()
        wanted = part[len(command) :]
        done = subprocess.run(
            ["sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            check=False,
        )
        same = not wanted or doctest.OutputChecker().check_output(wanted, done.stdout, FLAGS)
        where = f"{page.name}, line {block.line + 1}: {command}"
        assert same, f"{where}gives\n{done.stdout}and not\n{wanted}"
        assert wanted or done.returncode == 0, f"{where}fails:\n{done.stdout}"
