"""``demo``: saves, finds and loads a few results in a temporary folder, and shows the code for it."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from neuralib.persistence._commands.screen import Screen

_IMPORTS = """\
import numpy as np
from neuralib.persistence import PickleHandler, autoinc_field, field, missing, persistence_class
"""
_STEPS = (
    """\
@persistence_class
class Shuffle:
    animal: str = field(validator=True, filename=True)
    session: str = field(validator=True, filename=True)
    run: int = autoinc_field(filename_prefix="#")
    weights: np.ndarray
""",
    """\
handler = PickleHandler(Shuffle, folder)
rng = np.random.default_rng(0)
for animal in ["A00", "A01"]:
    for _ in range(3):
        result = Shuffle(animal, "20230101")
        result.weights = rng.normal(size=1000)
        handler.save_persistence(result)
        print(handler.filepath(result).name)
""",
    """\
for path, result in handler.load_all(animal="A01", session=missing):
    print(f"{path.name}: run {result.run}, mean weight {result.weights.mean():+.3f}")
""",
)


def demo(_options: argparse.Namespace, screen: Screen) -> int:
    """Run a short demonstration in a temporary folder."""
    from neuralib.persistence._commands.entry import main

    with tempfile.TemporaryDirectory(prefix="neuralib-demo-") as folder:
        names: dict[str, Any] = {"__name__": "demo", "folder": folder}
        screen.line("A result is an instance of an annotated class. Its keys form its file name.", "bold")
        exec(_IMPORTS, names)  # noqa: S102
        for step in _STEPS:
            screen.line()
            for line in step.splitlines():
                screen.line(f">>> {line}", "cyan")
            exec(step, names)  # noqa: S102 - what is shown is what runs
        color = "always" if screen.colored else "never"
        first_file = str(names["handler"].filepath(None, animal="A01", session="20230101", run=0))
        for arguments in (["ls", folder, "animal=A00"], ["show", first_file], ["verify", folder]):
            screen.line()
            screen.line(f"$ neuralib-persistence {' '.join(arguments)}", "cyan")
            screen.stream.flush()
            main(["--color", color, *arguments])
    screen.line()
    screen.line("The temporary folder was removed.", "dim")
    return 0
