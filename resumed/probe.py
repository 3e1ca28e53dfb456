"""Ask a command whether the surroundings are as they must be, without waiting for it."""

import os
import signal
import subprocess
from contextlib import suppress

from resumed.launch import clean_environ
from resumed.settings import Command

FINE_SECONDS = 60.0
AGAIN_SECONDS = 5.0
LONGEST_SECONDS = 30.0


class Probe:
    """The ``probe`` command: exit status 0 says that all is well. Times are monotonic."""

    def __init__(self, command: Command | None) -> None:
        self.command = command
        self.fault: str | None = None
        self.answered = command is None
        self._process: subprocess.Popen[bytes] | None = None
        self._until = 0.0
        self._next_at = 0.0

    def pids(self) -> set[int]:
        """Name the process that runs, which is nobody's orphan."""
        return {self._process.pid} if self._process else set()

    def turn(self, now: float) -> None:
        """Take the answer if there is one; ask again when it is time to."""
        if self.command is None:
            self.fault, self.answered = None, True
            return
        if self._process is not None:
            self._hear(self._process, now)
        elif now >= self._next_at:
            self._ask(self.command, now)

    def close(self) -> None:
        """End what runs."""
        if self._process is not None:
            _kill(self._process)
            self._process = None

    def _ask(self, command: Command, now: float) -> None:
        self._until = now + LONGEST_SECONDS
        try:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=clean_environ(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            self._answer(f"probe {command.argv[0]}: {error.strerror}", now)

    def _hear(self, process: subprocess.Popen[bytes], now: float) -> None:
        status = process.poll()
        if status is None and now < self._until:
            return
        self._process = None
        if status is None:
            _kill(process)
            self._answer(f"the probe did not answer in {LONGEST_SECONDS:g} s", now)
        else:
            self._answer(f"the probe ended with status {status}" if status else None, now)

    def _answer(self, fault: str | None, now: float) -> None:
        self.fault, self.answered = fault, True
        self._next_at = now + (AGAIN_SECONDS if fault else FINE_SECONDS)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
