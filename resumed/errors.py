"""Name every way the program can stop, with an exit status for each.

    ResumedError                    70  a fault of ours
    ├── UsageError                   2  the command line is wrong
    ├── ConfigError                 78  the configuration needs a person
    ├── JournalError                78  the journal needs a person
    │   ├── JournalCorruptError         damage that no crash explains
    │   └── JournalVersionError         written by a newer program
    ├── StorageError                74  the disk refused; restart and replay
    └── LockedError                 75  another instance works here

A class stands for a thing that a caller does differently. Each builds its message from its
fields: place first, then what is wrong, then what to do. The statuses follow sysexits.h;
``RestartPreventExitStatus=`` in the units lists those that a restart cannot mend.

`TransientError` and `PermanentError` are for handlers: raised there, they tell the retry
policy what to think of the attempt. They never end the program.
"""

from dataclasses import dataclass
from pathlib import Path

EXIT_FINE = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_LEFT_OVER = 4
EXIT_OUR_FAULT = 70
EXIT_STORAGE = 74
EXIT_LOCKED = 75
EXIT_NEEDS_A_PERSON = 78


class TransientError(Exception):
    """Raise in a handler when the same attempt may succeed later."""


class PermanentError(Exception):
    """Raise in a handler when no further attempt can succeed."""


class ResumedError(Exception):
    """Stand for whatever ends the program or a command of it."""

    exit_status = EXIT_OUR_FAULT


class UsageError(ResumedError):
    """Say that the command line cannot be followed."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class Mistake:
    """Point at one fault in the configuration; *line* counts from 1, 0 when unknown."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        """Write the mistake as an editor can jump to it."""
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.text}"


class ConfigError(ResumedError):
    """List all mistakes of a configuration at once."""

    exit_status = EXIT_NEEDS_A_PERSON

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class JournalError(ResumedError):
    """Refuse a journal, whose bytes were left as they are."""

    exit_status = EXIT_NEEDS_A_PERSON

    def __init__(self, path: Path, line: int, fault: str, remedy: str) -> None:
        super().__init__(f"{path}:{line}: {fault}; {remedy}")
        self.path = path
        self.line = line
        self.fault = fault


_JOURNAL_ADVICE = (
    "nothing was changed: 'resumed-ctl journal check' tells more, "
    "with the daemon down 'resumed-ctl journal repair' mends"
)


class JournalCorruptError(JournalError):
    """Refuse damage that neither a crash nor a power loss can have left."""

    def __init__(self, path: Path, line: int, fault: str) -> None:
        super().__init__(path, line, fault, _JOURNAL_ADVICE)


class JournalVersionError(JournalError):
    """Refuse a format that this program does not know."""

    def __init__(self, path: Path, line: int, fault: str) -> None:
        super().__init__(path, line, fault, "start the program that wrote it, or a newer one")


class StorageError(ResumedError):
    """Report that the disk refused a write, a sync or a move of ours.

    What it had not acknowledged is unknown, so nothing is tried again in place: the
    program ends, and the next start reads what did reach the disk.
    """

    exit_status = EXIT_STORAGE

    def __init__(self, place: str, cause: OSError) -> None:
        super().__init__(f"{place}: {cause.strerror or cause}; mend the disk, then start again")
        self.place = place
        self.errno = cause.errno


class LockedError(ResumedError):
    """Report that another instance holds the lock."""

    exit_status = EXIT_LOCKED

    def __init__(self, place: str) -> None:
        super().__init__(f"{place}: another instance is at work here; wait for it or stop it")
