"""Run the administrator's commands when something calls for a person.

``on_failure`` and ``on_alarm`` are argument lists, never given to a shell. Each call is a
process of its own, in a session of its own, with nothing of the daemon's but its user; it has
a minute, and at most `AT_ONCE` run at a time: what comes beyond waits, and beyond `WAITING`
it is dropped, which is told. What they print goes to the daemon's own stderr. A drain ends after
them; a stop gives them `LAST_SECONDS` and then ends them.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from resumed.launch import clean_environ
from resumed.settings import Command

AT_ONCE = 4
WAITING = 1000
SECONDS = 60.0
LAST_SECONDS = 2.0
LOOK_SECONDS = 0.2
LAST_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Call:
    """One command that is to run, with what it is told in its environment."""

    hook: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]


class Hooks:
    """The commands that run, and those that wait. Times are monotonic seconds."""

    def __init__(self, tell: Callable[..., None]) -> None:
        """*tell* writes an event when a command fails."""
        self._tell = tell
        self._waiting: deque[_Call] = deque()
        self._running: dict[int, tuple[str, subprocess.Popen[bytes], float]] = {}
        self._look_at: float | None = None

    def call(self, hook: str, command: Command, about: Mapping[str, str]) -> None:
        """Run *command* soon; *about* fills ``{name}`` and is its ``RESUMED_NAME`` and so on."""
        if len(self._waiting) >= WAITING:
            self._tell("hook_failed", hook=hook, why="too many are waiting")
            return
        told = {key: _fit(value) for key, value in about.items()}
        environ = {f"RESUMED_{key.upper()}": value for key, value in told.items()}
        self._waiting.append(_Call(hook, tuple(command.filled(told)), environ))

    def pids(self) -> set[int]:
        """Name the processes, which are nobody's orphans."""
        return set(self._running)

    @property
    def busy(self) -> bool:
        """Tell whether a command runs or waits."""
        return bool(self._waiting or self._running)

    def due(self) -> float | None:
        """Say when `turn` has something to do."""
        if self._waiting and len(self._running) < AT_ONCE:
            return 0.0
        return self._look_at

    def turn(self, now: float) -> None:
        """Reap what ended, end what takes too long, start what waits."""
        for pid, (hook, process, until) in list(self._running.items()):
            status = process.poll()
            if status is None and now < until:
                continue
            del self._running[pid]
            if status is None:
                _kill(process)
                self._tell("hook_failed", hook=hook, why=f"still ran after {SECONDS:g} s")
            elif status:
                self._tell("hook_failed", hook=hook, why=f"ended with status {status}")
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft(), now)
        self._look_at = now + LOOK_SECONDS if self._running else None

    def close(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Let all end soon, else end it; the log line that told its reason is there."""
        until = clock() + LAST_SECONDS
        while self.busy and (now := clock()) < until:
            self.turn(now)
            sleep(LAST_LOOK_SECONDS)
        for _, process, _ in self._running.values():
            _kill(process)
        self._running.clear()
        self._waiting.clear()

    def _start(self, call: _Call, now: float) -> None:
        try:
            process = subprocess.Popen(
                call.argv,
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**clean_environ(os.environ), **call.environ},
                start_new_session=True,
            )
        except OSError as error:
            self._tell("hook_failed", hook=call.hook, why=f"{call.argv[0]}: {error.strerror}")
            return
        self._running[process.pid] = (call.hook, process, now + SECONDS)


def _fit(value: str) -> str:
    """Escape what no argument can hold; an error's text may quote any file."""
    whole = value.replace("\0", "\\x00")
    try:
        os.fsencode(whole)
    except UnicodeEncodeError:
        return whole.encode("utf-8", "backslashreplace").decode()
    return whole


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
