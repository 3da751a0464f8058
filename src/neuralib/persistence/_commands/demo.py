"""``demo``: saves, finds and loads a few results in a temporary folder, and shows the code for it."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from neuralib.persistence._classes.decorator import persistence_class
from neuralib.persistence._classes.field import autoinc_field, field, missing
from neuralib.persistence._handlers.pickles import PickleHandler

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.screen import Screen


@persistence_class
class Shuffle:
    """One shuffled run."""

    animal: str = field(validator=True, filename=True)
    session: str = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    weights: Any = field(init=False)


def demo(_options: argparse.Namespace, screen: Screen) -> int:
    """Run a short demonstration in a temporary folder."""
    import numpy as np

    from neuralib.persistence._commands.entry import main

    def code(text: str) -> None:
        screen.line()
        for line in text.splitlines():
            screen.line(f">>> {line}", "cyan")

    with tempfile.TemporaryDirectory(prefix="neuralib-demo-") as folder:
        screen.line("A result is an instance of an annotated class. Its keys form its file name.", "bold")
        code(
            "@persistence_class\nclass Shuffle:\n    animal: str = field(validator=True, filename=True)\n"
            "    session: str = field(validator=True, filename=True)\n"
            '    run: int = autoinc_field(filename_prefix="#")\n    weights: np.ndarray'
        )
        code(f'handler = PickleHandler(Shuffle, "{folder}")')
        code(
            'result = Shuffle("A00", "20230101")\nresult.weights = rng.normal(size=1000)\nhandler.save_persistence(result)'
        )
        handler = PickleHandler(Shuffle, folder)
        rng = np.random.default_rng(0)
        for animal in ("A00", "A01"):
            for _ in range(3):
                result = Shuffle(animal, "20230101")
                result.weights = rng.normal(size=1000)
                handler.save_persistence(result)
                screen.line(handler.filepath(result).name)
        code('for path, result in handler.load_all(animal="A01", session=missing): ...')
        for path, result in handler.load_all(animal="A01", session=missing):
            screen.line(f"{path.name}: run {result.run}, mean weight {result.weights.mean():+.3f}")
        color = "always" if screen.colored else "never"
        first_file = str(handler.filepath(None, animal="A01", session="20230101", run=0))
        for arguments in (["ls", folder, "animal=A00"], ["show", first_file], ["verify", folder]):
            screen.line()
            screen.line(f"$ neuralib-persistence {' '.join(arguments)}", "cyan")
            screen.stream.flush()
            main(["--color", color, *arguments])
    screen.line()
    screen.line("The temporary folder was removed.", "dim")
    return 0
