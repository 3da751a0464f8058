"""The house: a module imports only from rows below its own, or along the arrows of its row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = "neuralib.persistence"
SOURCE = Path(__file__).parents[1] / "src" / "neuralib" / "persistence"

ROWS = [  # from the ground up; within a row each may import from those before it
    ["_errors", "_os_errors", "_equality", "_tasks", "_scan", "_disk", "_core", "_names", "_pickling"],
    ["_bytes.pread", "_bytes.sources", "_bytes.checksums"],
    [
        "_showing.previews",
        "_showing.thumbnails",
        "_classes.value_texts",
        "_classes.field",
        "_classes.name_texts",
        "_classes.hints",
        "_classes.checks",
        "_classes.schema",
        "_classes.losses",
        "_classes.evolution",
        "_classes.convert",
        "_showing.html",
        "_classes.sources",
        "_classes.codegen",
        "_classes.decorator",
    ],
    ["_naming.typed", "_naming.names"],
    [
        "_trust.allowance",
        "_trust.plain_values",
        "_trust.plain_arrays",
        "_trust.plain_data",
        "_trust.instructions",
        "_trust.stand_ins",
        "_trust.machine",
        "_trust.untrusted",
        "_trust.outline",
    ],
    [
        "_codecs.card",
        "_codecs.base",
        "_codecs.arrays",
        "_codecs.frames",
        "_codecs.framed_reader",
        "_codecs.compression",
        "_codecs.gzipped",
        "_codecs.zstd",
        "_codecs.pickles",
    ],
    [
        "_stores.base",
        "_stores.memory",
        "_stores.system",
        "_stores.exclusive",
        "_stores.drafts",
        "_stores.folder",
        "_stores.paths",
    ],
    [
        "_keeping.identity",
        "_keeping.reading",
        "_keeping.records",
        "_keeping.numbering",
        "_keeping.keeper",
        "_keeping.batches",
    ],
    [
        "_finding.query",
        "_finding.listing",
        "_finding.tables",
        "_finding.stacks",
        "_finding.deleting",
        "_finding.todo",
        "_finding.found",
        "_finding.checking",
    ],
    [
        "_handlers.heads",
        "_handlers.hooks",
        "_handlers.base",
        "_handlers.files",
        "_handlers.pickles",
        "_handlers.direct",
    ],
    ["_validators", "_computing.missing", "_computing.options"],
    [
        "_commands.screen",
        "_commands.plain",
        "_commands.naming",
        "_commands.entries",
        "_commands.classes",
        "_commands.content",
        "_commands.conversion",
        "_commands.differences",
        "_commands.listing",
        "_commands.looking",
        "_commands.checking",
        "_commands.keeping",
        "_commands.completion",
        "_commands.entry",
        "_commands.demo",
        "__main__",
    ],
    ["validator", "persistence", "cli_persistence", "stores", "codecs", "testing", "__init__"],
]
AXES = ("_naming", "_codecs", "_stores")  # none of which imports another
ALONE = {
    "_showing.previews",
    "_showing.thumbnails",
    "_equality",
    "_os_errors",
    "_validators",
    "_codecs.arrays",
    "_codecs.card",
    "_stores.base",
    "_tasks",
}  # what they share a row with is not theirs to use
HEAVY = {"rich", "numpy", "gzip", "zlib_ng", "argclz", "pandas", "dataclasses"}
HEIGHT = {name: (row, place) for row, names in enumerate(ROWS) for place, name in enumerate(names)}


def modules():
    for path in sorted(SOURCE.rglob("*.py*")):
        if path.suffix in {".py", ".pyx"} and path.parent.name != "__pycache__":
            name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            if "." not in name or not name.endswith(".__init__"):
                yield pytest.param(name, path, id=name)


def imports(path):
    lines = path.read_text().splitlines()
    if path.suffix == ".pyx":  # what Python's grammar lacks is no import of the package
        text, inside = [], False
        for line in lines:
            inside = inside or (line.startswith(("from ", "import ")) and " cimport " not in line)
            if inside:
                text.append(line)
            if ")" in line or "(" not in line and not line.startswith(" "):
                inside = False
        lines = text
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((it.name, node.col_offset == 0) for it in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for it in node.names:
                full = f"{node.module}.{it.name}"
                yield (full if full.removeprefix(f"{PACKAGE}.") in HEIGHT else node.module), node.col_offset == 0


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_a_module_imports_from_below(name, path):
    """And nothing heavy at module level."""
    assert name in HEIGHT, f"{name} has no room in the house: give it one in ROWS"
    found = list(imports(path))
    assert found or name in {"_names", "_pickling"}, "every module imports something"  # these need C alone
    for target, at_top in found:
        assert not (at_top and target.split(".")[0] in HEAVY), f"{name} imports {target} at module level"
        if not target.startswith(PACKAGE):
            continue
        inside = target.removeprefix(PACKAGE).removeprefix(".")
        assert inside in HEIGHT, f"{name} imports {target}, which has no room in the house"
        assert HEIGHT[inside] < HEIGHT[name], f"{name} imports {inside} from above or beside it"
        rooms = [module.split(".")[0] for module in (name, inside)]
        assert rooms[0] == rooms[1] or not set(rooms) <= set(AXES), f"{name} imports another axis: {inside}"
        if name in ALONE:
            assert HEIGHT[inside][0] < HEIGHT[name][0], f"{name} imports {inside} from its own row"


def test_no_room_is_empty():
    """A module that went takes its room along."""
    assert {it.id for it in modules()} == set(HEIGHT)
