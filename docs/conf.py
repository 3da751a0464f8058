"""How Sphinx makes the site of these pages: ``sphinx-build -W -n docs build/docs``. Needs no network."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.pycode import ModuleAnalyzer

import neuralib.persistence.cli_persistence  # noqa: F401 - before autodoc, which would take the stubs for the modules

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

HERE = Path(__file__).parent

project = "neuralib-persistence"
author = "The neuralib-persistence authors"
copyright = author  # noqa: A001 - Sphinx's name for it
release = version = (HERE.parent / "VERSION").read_text().strip()

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_dark_style = "a11y-dark"
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 120

# What the standard library and numpy document, so that links to it are made and checked without looking there.
# A name as a signature has it is followed by its full one.
_ELSEWHERE = {
    "python": (
        "https://docs.python.org/3",
        {
            "py:class": {
                "library/os.html": ["os.PathLike"],
                "library/pathlib.html": ["pathlib.Path", "Path=pathlib.Path"],
                "library/abc.html": ["abc.ABC"],
                "library/stdtypes.html": ["bool", "bytes", "dict", "float", "int", "list", "str", "tuple", "range"],
                "library/functions.html": ["object", "type"],
                "library/typing.html": ["typing.Any", "typing.Generic", "typing.Literal", "typing.BinaryIO"],
                "library/concurrent.futures.html": [
                    "concurrent.futures.Executor",
                    "Executor=concurrent.futures.Executor",
                ],
                "library/collections.abc.html": [
                    f"collections.abc.{name}"
                    for name in ("Callable", "Collection", "Iterable", "Iterator", "Mapping", "Sequence")
                ],
                "library/datetime.html": ["datetime.date", "datetime.datetime"],
            },
            "py:exception": {
                "library/concurrent.futures.html": ["BrokenExecutor=concurrent.futures.BrokenExecutor"],
                "library/exceptions.html": [
                    builtin.__name__
                    for builtin in vars(__import__("builtins")).values()
                    if isinstance(builtin, type) and issubclass(builtin, BaseException)
                ],
            },
            "py:module": {f"library/{name}.html": [name] for name in ("json", "logging", "pickle", "pickletools")},
            "py:data": {"library/constants.html": ["None"]},
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable",
        {"py:class": {"reference/generated/numpy.ndarray.html": ["numpy.ndarray"]}},
    ),
}


def _inventory(name: str, folder: Path) -> str:
    """Write what is known of the pages called *name* as Sphinx wants it; return the file."""
    _, roles = _ELSEWHERE[name]
    anchor = {"py:module": "module-{}"}
    lines = [
        f"{short} {role} 1 {page}#{anchor.get(role, '{}').format(full or short)} -\n"
        for role, pages in roles.items()
        for page, names in pages.items()
        for short, _, full in (name.partition("=") for name in names)
    ]
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# The remainder of this file is compressed using zlib.\n"
    path = folder / f"{name}.inv"
    path.write_bytes(head.encode() + zlib.compress("".join(sorted(lines)).encode()))
    return str(path)


def _link_elsewhere(app: Sphinx, config: Config) -> None:
    """Give Sphinx the inventories, before it looks at where they are."""
    folder = Path(app.doctreedir)
    folder.mkdir(parents=True, exist_ok=True)
    config.intersphinx_mapping = {name: (url, _inventory(name, folder)) for name, (url, _) in _ELSEWHERE.items()}


# Type variables, and types of the insides that signatures name.
nitpick_ignore_regex = [
    ("py:class", r"(.*\.)?[A-Z]"),
    ("py:obj", r".*\.[A-Z]"),
    ("py:class", r"(neuralib\.persistence\.)?_.*"),
    ("py:class", r"FolderDraft|Moment"),
    ("py:class", r"Card|Unpickle|Buffer|PurePath|Place|Share|Watch"),  # of type checkers alone
    ("py:class", r"concurrent\.futures\._base\..*"),  # documented one level above
]


# Overloads that are there for type checkers alone: the one real signature says more.
for module, function in (("_classes.decorator", "persistence_class"), ("_classes.field", "autoinc_field")):
    analyzer = ModuleAnalyzer.for_module(f"neuralib.persistence.{module}")
    analyzer.analyze()
    del analyzer.overloads[function]

# Classes that users get, and do not make.
_NOT_CALLED = {f"neuralib.persistence.{name}" for name in ("ArrayHead", "Found", "Hit", "ObjectHead")}


def _without_arguments(app: Sphinx, what: str, name: str, *_: object) -> tuple[str, str] | None:
    """Leave out how those are made."""
    return ("", "") if what == "class" and name in _NOT_CALLED else None


def setup(app: Sphinx) -> None:
    """Take part in the build."""
    app.connect("autodoc-process-signature", _without_arguments)
    app.connect("config-inited", _link_elsewhere, priority=400)
