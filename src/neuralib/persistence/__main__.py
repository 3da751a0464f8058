"""``python -m neuralib.persistence``: the command ``neuralib-persistence``."""

import os
import sys
from contextlib import suppress

from neuralib.persistence._commands.entry import main

if __name__ == "__main__":
    # -m puts the current folder first, so that a csv.py among results would be taken for Python's own.
    with suppress(FileNotFoundError):  # it was removed
        if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
            del sys.path[0]
    raise SystemExit(main())
