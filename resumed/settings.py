"""Hold what a configuration says, once it was read and found sound.

`resumed.config` makes these values, `resumed.reference` describes each setting to people.
Every default stands here and nowhere else in code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from resumed.paths import Paths

__all__ = [
    "AHEAD_AUTO",
    "ALARM_PLACEHOLDERS",
    "FAILURE_PLACEHOLDERS",
    "PLACEHOLDERS",
    "Command",
    "Config",
    "Expectations",
    "JobSettings",
    "LogSettings",
    "Paths",
    "PythonHandler",
    "RetryPolicy",
    "Step",
    "Tolerance",
]

AHEAD_AUTO = -1
PLACEHOLDERS = frozenset({"path", "name", "id", "key", "attempt", "workdir", "out"})
FAILURE_PLACEHOLDERS = frozenset({"id", "name", "path", "step", "attempt", "error"})
ALARM_PLACEHOLDERS = frozenset({"why"})
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class PythonHandler:
    """A function of one argument, found beside the configuration file or installed."""

    module: str
    function: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, never given to a shell."""

    argv: tuple[str, ...]

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Put *values* in place of ``{path}`` and its like.

        All at once, so that a file named ``{id}`` stays what it is called; braces around
        an unknown word stay as well.
        """
        return [
            _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), argument)
            for argument in self.argv
        ]


@dataclass(frozen=True, slots=True)
class Step:
    """A named part of a handler that is made of several."""

    name: str
    run: PythonHandler | Command


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Say how often, when and after which failures an item is tried again.

    The waits double from *initial_seconds* to *max_seconds*; up to *jitter_seconds* are
    added to each at random. The exits are the user's own, beside the well-known ones of
    `resumed.policy`, which they overrule.
    """

    max_attempts: int = 5
    initial_seconds: float = 10.0
    max_seconds: float = 3600.0
    jitter_seconds: float = 5.0
    retry_on: tuple[str, ...] = ()
    transient_exits: frozenset[int] = frozenset()
    permanent_exits: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Say which events are written, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Say how many parts of a job may fail: so many, or a *share* of all from 0 to 1."""

    failures: int = 0
    share: float = 0.0

    def allows(self, failed: int, total: int) -> bool:
        """Tell whether a job of *total* parts may go on to its reduce with *failed* ones."""
        return failed <= max(self.failures, self.share * total)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Say which files are jobs, and what becomes of their parts."""

    match: tuple[str, ...]
    id: str | None = None
    reduce: PythonHandler | Command | None = None
    fail_job_on: tuple[str, ...] = ()
    results: bool = False
    tolerate: Tolerance = Tolerance()


@dataclass(frozen=True, slots=True)
class Expectations:
    """Say what is normal here, so that its absence can raise an alarm."""

    every_seconds: float | None = None
    oldest_pending_seconds: float | None = None
    growing_failures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One sound configuration; a reload makes another one.

    *folder* holds the configuration file, and there the handler's module is looked for.
    *file* may be missing from the disk only in tests.
    """

    file: Path
    folder: Path
    handler: PythonHandler | Command | tuple[Step, ...]
    paths: Paths
    workers: int = 1
    timeout_seconds: float | None = None
    recycle: int = 10_000
    ahead: int = AHEAD_AUTO
    version: str = ""
    max_crashes: int = 3
    match: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()
    marker: str | None = None
    recursive: bool = False
    settle_seconds: float = 1.0
    rescan_seconds: float = 60.0
    on_done: Literal["archive", "delete"] = "archive"
    sync_input: bool = True
    reserve_bytes: int = 64 << 20
    require: tuple[Path, ...] = ()
    probe: Command | None = None
    stop_timeout_seconds: float = 300.0
    on_failure: Command | None = None
    on_alarm: Command | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    log: LogSettings = field(default_factory=LogSettings)
    job: JobSettings | None = None
    expect: Expectations = field(default_factory=Expectations)
