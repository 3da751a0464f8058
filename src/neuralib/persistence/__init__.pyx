# cython: language_level=3, freethreading_compatible=True, binding=True, embedsignature=False
# cython: autotestdict=False, auto_pickle=False
"""Save the results of computations and find them again. The keys of a result form its file name."""

# Public names are imported on first use. The command line needs few of them, and starts in a third of the time.
from importlib import import_module

_FACES = ("persistence", "validator")
_OTHERS = ("cli_persistence", "codecs", "engines", "stores", "testing")  # imports ask here first for a module as well


def __getattr__(str name):
    """Import the public *name* on first use."""
    if name in _FACES:
        return import_module(f"{__name__}.{name}")
    faces = map(import_module, [f"{__name__}.{face}" for face in _FACES])
    if name == "__all__":
        return sorted([*_FACES, *[public for face in faces for public in face.__all__]])
    if not name.startswith("_") and name not in _OTHERS:
        for face in faces:
            if name in face.__all__:
                value = globals()[name] = getattr(face, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__():
    return sorted({*globals(), *__getattr__("__all__")})
