"""Make a folder into a home that works at once, and touch nothing that is there."""

from pathlib import Path

from resumed import config
from resumed.errors import UsageError

HANDLER = '''"""Process one file; see the README for what an item offers."""

from resumed import Item


def process(item: Item) -> dict:
    """Count the lines of a file."""
    with open(item.path, "rb") as file:
        return {"lines": sum(1 for _ in file)}
'''
FOLDERS = {
    "inbox": 0o770,
    "active": 0o700,
    "hold": 0o750,
    "done": 0o750,
    "failed": 0o750,
    "out": 0o750,
    "state": 0o750,
}


def begin(home: Path) -> list[Path]:
    """Make what is missing of a home, and return what was made.

    Raises:
        UsageError: There is a configuration already.
        OSError: Something cannot be made.
    """
    file = home / "resumed.toml"
    if file.exists():
        raise UsageError(f"{file}: is there already; 'resumed check --home {home}' tries it")
    made = []
    for path, mode in ((home, 0o750), *((home / name, mode) for name, mode in FOLDERS.items())):
        if not path.exists():
            path.mkdir(mode=mode, parents=path == home)
            made.append(path)
    handler = home / "handler.py"
    if not handler.exists():
        handler.write_text(HANDLER)
        made.append(handler)
    file.write_text(config.template("handler:process"))
    return [*made, file]
