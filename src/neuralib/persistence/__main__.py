"""``python -m neuralib.persistence``: the command ``neuralib-persistence``."""

from neuralib.persistence._commands.entry import main

if __name__ == "__main__":
    raise SystemExit(main())
