"""Start one worker process, with everything it needs and nothing of what it must not have.

A worker is a fresh interpreter, not a fork of the daemon: no thread, lock or descriptor of the
daemon is in it but the pipes of `resumed.wire` and the file of its marks.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resumed import mark
from resumed.model import Record
from resumed.settings import Command, Config, PythonHandler, Step

# What systemd, or a parent of the daemon, meant for the daemon alone.
_NOT_FOR_WORKERS = frozenset(
    {"NOTIFY_SOCKET", "MAINPID", "MANAGERPID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"}
)
_NOT_FOR_WORKERS_PREFIXES = ("WATCHDOG_", "LISTEN_", "MEMORY_PRESSURE_")


@dataclass(frozen=True, slots=True)
class Started:
    """A started worker, and the daemon's non-blocking ends of its pipes.

    *ending* is a descriptor of the process itself, readable when it has ended.
    """

    process: "subprocess.Popen[bytes]"
    work: int
    control: int
    report: int
    output: int
    ending: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Say what the workers run, and within what limits.

    *marks* is a folder for the marks that they leave, made if it is missing.
    """

    handler: PythonHandler | Command | tuple[Step, ...]
    folder: Path
    out: Path
    marks: Path
    timeout_seconds: float | None = None
    recycle: int = 10_000
    reduce: PythonHandler | Command | None = None

    @classmethod
    def of(cls, config: Config) -> "Launch":
        """Take what concerns the workers from *config*."""
        return cls(
            handler=config.handler,
            folder=config.folder,
            out=config.paths.out,
            marks=config.paths.state / "marks",
            timeout_seconds=config.timeout_seconds,
            recycle=config.recycle,
            reduce=config.job.reduce if config.job else None,
        )

    def frame(self) -> Record:
        """Make the first frame that a worker is sent."""
        several = isinstance(self.handler, tuple)
        steps = self.handler if isinstance(self.handler, tuple) else (Step("", self.handler),)
        return {
            "do": "load",
            "folder": str(self.folder),
            "out": str(self.out),
            "steps": [_program(step.run, step.name if several else None) for step in steps],
            "reduce": _program(self.reduce, None) if self.reduce else None,
        }


def _program(run: PythonHandler | Command, step: str | None) -> Record:
    if isinstance(run, Command):
        return {"step": step, "argv": list(run.argv)}
    return {"step": step, "module": run.module, "function": run.function}


def start(marks: Path) -> Started:
    """Start a worker that keeps its marks in the file *marks*; it waits for its first frame.

    Raises:
        OSError: There are no processes or descriptors left, or the disk refused.
    """
    theirs = [mark.create(marks)]
    ours: list[int] = []
    try:
        for is_read in (True, True, False, False):
            reader, writer = os.pipe()
            theirs.append(reader if is_read else writer)
            ours.append(writer if is_read else reader)
        process = _spawn(*theirs)
        ours.append(os.pidfd_open(process.pid))
    except OSError:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in ours:
        os.set_blocking(fd, False)
    return Started(process, *ours)


def _spawn(
    marks: int, work: int, control: int, report: int, output: int
) -> "subprocess.Popen[bytes]":
    passed = (work, control, report, marks)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "resumed.worker", *map(str, passed)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=passed,
        env=clean_environ(os.environ),
        start_new_session=True,
    )


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out what systemd meant for the daemon alone: nobody else may speak for it."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _NOT_FOR_WORKERS and not name.startswith(_NOT_FOR_WORKERS_PREFIXES)
    }
