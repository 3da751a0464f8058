"""A module imports only from rows below its own, or along the allowed imports within its row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = "neuralib.persistence"
SOURCE = Path(__file__).parents[1] / "src" / "neuralib" / "persistence"

ROWS = [  # from the lowest row to the highest; within a row, a module may import from those before it
    [
        "_messages",
        "_errors",
        "_log",
        "_forks",
        "_os_errors",
        "_packages",
        "_equality",
        "_tasks",
        "_scan",
        "_disk",
        "_core",
        "_names",
        "_pickling",
    ],
    ["_bytes.pread", "_bytes.sources", "_bytes.holes", "_bytes.checksums"],
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
        "_classes.unknown",
        "_classes.convert",
        "_showing.html",
        "_classes.sources",
        "_classes.codegen",
        "_classes.decorator",
    ],
    ["_naming.order", "_naming.typed", "_naming.names", "_naming.equal"],
    [
        "_trust.allowance",
        "_trust.plain_values",
        "_trust.plain_arrays",
        "_trust.plain_generators",
        "_trust.plain_data",
        "_trust.stand_ins",
        "_trust.instructions",
        "_trust.machine",
        "_trust.untrusted",
        "_trust.outline",
    ],
    [
        "_codecs.card",
        "_codecs.base",
        "_codecs.arrays",
        "_codecs.frames",
        "_codecs.unloadable",
        "_codecs.framed_content",
        "_codecs.framed_reader",
        "_codecs.compression",
        "_codecs.gzipped",
        "_codecs.zstd",
        "_codecs.pickles",
    ],
    [
        "_stores.base",
        "_stores.moving",
        "_stores.memory",
        "_stores.attempts",
        "_stores.bucket",
        "_stores.object_source",
        "_stores.objects",
        "_stores.system",
        "_stores.leftovers",
        "_stores.exclusive",
        "_stores.drafts",
        "_stores.files",
        "_stores.folder",
        "_stores.mounts",
        "_stores.database",
        "_stores.rows",
        "_stores.archive_file",
        "_stores.archive_writing",
        "_stores.ahead",
        "_stores.archive",
        "_stores.places",
        "_stores.paths",
    ],
    [
        "_keeping.identity",
        "_keeping.reading",
        "_keeping.replacing",
        "_keeping.records",
        "_keeping.numbering",
        "_keeping.keeper",
        "_keeping.batches",
    ],
    [
        "_finding.shares",
        "_finding.query",
        "_finding.former",
        "_finding.not_results",
        "_finding.candidates",
        "_finding.listing",
        "_finding.series",
        "_finding.tables",
        "_finding.stacks",
        "_finding.deleting",
        "_finding.todo",
        "_finding.checking",
        "_finding.found",
        "_finding.migrating",
    ],
    [
        "_handlers.heads",
        "_handlers.hooks",
        "_handlers.base",
        "_handlers.files",
        "_handlers.pickles",
        "_handlers.direct",
    ],
    [
        "_validators",
        "_computing.computed",
        "_computing.report",
        "_computing.claims",
        "_computing.limits",
        "_computing.work",
        "_computing.parcels",
        "_computing.chunks",
        "_computing.driving",
        "_computing.missing",
        "_computing.generics",
        "_computing.loading",
        "_computing.options",
        "_computing.engines",
    ],
    [
        "_commands.screen",
        "_commands.plain",
        "_commands.naming",
        "_commands.entries",
        "_commands.confirming",
        "_commands.classes",
        "_commands.content",
        "_commands.conversion",
        "_commands.differences",
        "_commands.listing",
        "_commands.looking",
        "_commands.checking",
        "_commands.keeping",
        "_commands.migration",
        "_commands.executors",
        "_commands.running",
        "_commands.moving",
        "_commands.completion",
        "_commands.entry",
        "_commands.demo",
        "__main__",
    ],
    [
        "_contracts.subject",
        "_contracts.handling",
        "_contracts.contents",
        "_contracts.puts",
        "_contracts.stores",
        "_contracts.codecs",
    ],
    ["validator", "persistence", "cli_persistence", "stores", "codecs", "engines", "testing", "__init__"],
]
AXES = ("_naming", "_codecs", "_stores")  # folders of one row; a module in one imports none of the others
ALONE = {
    "_showing.previews",
    "_showing.thumbnails",
    "_equality",
    "_os_errors",
    "_validators",
    "_codecs.arrays",
    "_codecs.card",
    "_stores.base",
}  # modules that import nothing from their own row
HEAVY = {"rich", "obstore", "numpy", "gzip", "zlib_ng", "argclz", "pandas", "dataclasses"}
HEIGHT = {name: (row, place) for row, names in enumerate(ROWS) for place, name in enumerate(names)}


def modules():
    for path in sorted(SOURCE.rglob("*.py*")):
        if path.suffix in {".py", ".pyx"} and path.parent.name != "__pycache__":
            name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            if "." not in name or not name.endswith(".__init__"):
                yield pytest.param(name, path, id=name)


def imports(path):
    lines = path.read_text().splitlines()
    if path.suffix == ".pyx":  # keep the import statements only: Python can't parse the rest
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
            yield from ((alias.name, node.col_offset == 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full.removeprefix(f"{PACKAGE}.") in HEIGHT else node.module), node.col_offset == 0


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_a_module_imports_only_from_rows_below(name, path):
    """Heavy libraries are not imported at module level."""
    assert name in HEIGHT, f"{name} is in no row: add it to ROWS"
    found = list(imports(path))
    assert found or name in {"_names", "_pickling"}, "every module imports something"  # these two need nothing but C
    for target, at_top in found:
        assert not (at_top and target.split(".")[0] in HEAVY), f"{name} imports {target} at module level"
        if not target.startswith(PACKAGE):
            continue
        inside = target.removeprefix(PACKAGE).removeprefix(".")
        assert inside in HEIGHT, f"{name} imports {target}, which is in no row: add it to ROWS"
        assert HEIGHT[inside] < HEIGHT[name], f"{name} imports {inside} from above or beside it"
        rooms = [module.split(".")[0] for module in (name, inside)]
        assert rooms[0] == rooms[1] or not set(rooms) <= set(AXES), f"{name} imports another axis: {inside}"
        if name in ALONE:
            assert HEIGHT[inside][0] < HEIGHT[name][0], f"{name} imports {inside} from its own row"


def test_each_module_in_the_rows_exists():
    """If a module is removed, its place in ROWS must be too."""
    assert {module.id for module in modules()} == set(HEIGHT)
