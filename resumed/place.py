"""Find the folders of an instance without judging its configuration.

Whoever only looks must get an answer while the configuration is wrong, too, and at once:
so nothing but ``[paths]`` is read here. What a sound configuration says is the same as
`resumed.config.load` finds in it.
"""

import os
from pathlib import Path
from typing import Any

from resumed.paths import Paths

DEFAULT_FILE = Path("/etc/resumed/resumed.toml")
FILE_AT_HOME = "resumed.toml"
SPOOL = Path("/var/spool/resumed")
STATE = Path("/var/lib/resumed")


def file_of(file: Path | None, home: Path | None) -> Path:
    """Name the configuration file that the options *file* and *home* mean."""
    if file is None:
        file = home / FILE_AT_HOME if home else DEFAULT_FILE
    return file.absolute()


def find(file: Path | None = None, *, home: Path | None = None) -> Paths:
    """Name the folders of the instance; a home needs no file for that.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    chosen = file_of(file, home)
    given = _table(chosen, required=file is not None or home is None)
    folder = chosen.parent
    home = home.absolute() if home else None

    def named(key: str, default: Path | None) -> Path | None:
        value = given.get(key)
        if not isinstance(value, str) or not value:
            return default
        return Path(os.path.normpath(folder / value))

    spool = named("spool", home or SPOOL)
    state = named("state", home / "state" if home else STATE)
    return Paths.below(spool or SPOOL, state or STATE, named("inbox", None))


def _table(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        content = file.read_bytes()
        if b"paths" not in content:
            return {}
        import tomllib  # noqa: PLC0415 - few files need it, and its patterns take time to compile

        values = tomllib.loads(content.decode())
    except FileNotFoundError:
        if not required:
            return {}
        values = _complain(file)
    except (OSError, ValueError):
        values = _complain(file)
    table = values.get("paths")
    return table if isinstance(table, dict) else {}


def _complain(file: Path) -> dict[str, Any]:
    """Let the real reader say what is wrong, with its line."""
    from resumed import toml  # noqa: PLC0415 - only a mistake pays for it

    return toml.read(file).values
