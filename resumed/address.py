"""Write commands as a person must type them to reach the instance that is meant.

What is told deep inside names commands plainly, in quotes: ``'resumed check' tells more``. Where
it is printed, the options are put in that the person gave, quoted for a shell.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from resumed.place import DEFAULT_FILE

_ADVICE = re.compile(r"'(resumed-ctl|resumed (?:run|drain|check))(?= (?!-c |--home )|')")
_CTL = "resumed-ctl"
_UNIT = "resumed"


@dataclass(slots=True)
class Address:
    """Hold the options by which an instance is meant; a *home*, a *file*, or neither."""

    file: Path | None = None
    home: Path | None = None

    @property
    def options(self) -> str:
        """Write the options, with a blank before them; nothing where none are needed."""
        if self.file is not None:
            return f" -c {shlex.quote(str(self.file))}"
        return f" --home {shlex.quote(str(self.home))}" if self.home else ""

    @property
    def ctl(self) -> str:
        """Write how `resumed-ctl` is called."""
        return f"{_CTL}{self.options}"

    def complete(self, told: str) -> str:
        """Put the options into the commands that are quoted in a message and have none."""
        return _ADVICE.sub(lambda found: found[0] + self.options, told)


def program(ctl: str, verb: str) -> str:
    """Write how `resumed` is called where *ctl* is how `resumed-ctl` is."""
    return f"resumed {verb}{ctl.removeprefix(_CTL)}"


def start(ctl: str) -> str:
    """Write what starts the daemon of the instance that *ctl* reaches."""
    if ctl == _CTL:
        return f"systemctl start {_UNIT}"
    file = Path(shlex.split(ctl)[-1])
    if " -c " in ctl and file.parent == DEFAULT_FILE.parent and file.suffix == ".toml":
        return f"systemctl start {_UNIT}@{file.stem}"
    return program(ctl, "run")
