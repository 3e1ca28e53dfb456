"""Pause while the surroundings cannot carry the work, and go on by itself.

A full disk, a mount that is missing, a probe that says no, a program that is not there: none
of that is a failure of an item. While one is so, nothing is claimed and no attempt begins; it
is said once, not every time it is found again, and looked at every few seconds.
"""

import os
from collections.abc import Callable
from pathlib import Path

from resumed import mounts, text
from resumed.probe import Probe
from resumed.settings import Config

LOOK_SECONDS = 5.0
TRUST_SECONDS = 10.0
BRIEF_SECONDS = 0.2
ASK_SECONDS = 0.05


class Intermission:
    """Know whether to pause. Times are monotonic seconds."""

    def __init__(self, config: Config, tell: Callable[..., None]) -> None:
        """*tell* writes an event."""
        self.why: str | None = None
        self.probe = Probe(config.probe)
        self._config = config
        self._tell = tell
        self._look_at = 0.0
        self._told: str | None = None
        self._found_by_attempt = False

    @property
    def on(self) -> bool:
        """Tell whether to pause now."""
        return self.why is not None or not self.probe.answered

    def use(self, config: Config) -> None:
        """Look at what another configuration names from now on."""
        self._config = config
        self.probe.command = config.probe
        self._look_at = 0.0

    def due(self) -> float | None:
        """Say when to look again; only a pause is looked at without being asked."""
        return self._look_at if self.on or self.probe.pids() else None

    def look(self, now: float) -> bool:
        """Look at the surroundings if it is time to; tell whether to pause."""
        if now >= self._look_at:
            self.probe.turn(now)
            why = self._fault()
            if why is not None:
                self._found_by_attempt = False
                self._pause(why)
            else:
                self.why = None
                if not self._found_by_attempt:
                    self.sound()
            # A disk fills between two files; nobody is woken to see whether it is full.
            rest = LOOK_SECONDS if why else BRIEF_SECONDS
            self._look_at = now + (ASK_SECONDS if self.probe.pids() else rest)
        return self.on

    def broken(self, why: str, now: float) -> None:
        """Pause because an attempt found the surroundings broken; try again after a while.

        Only another attempt can tell that this is over.
        """
        self._look_at = now + TRUST_SECONDS
        self._found_by_attempt = True
        self._pause(why)

    def sound(self) -> None:
        """Note that the surroundings are fine: what was told is over."""
        if self._told is not None and not self.on:
            self._told = None
            self._tell("intake_resumed")

    def _pause(self, why: str) -> None:
        self.why = why
        if self._told != why:
            self._told = why
            self._tell("intake_paused", why=why)

    def _fault(self) -> str | None:
        paths = self._config.paths
        for folder in (paths.spool, paths.state):
            fault = _lack_of_space(folder, self._config.reserve_bytes)
            if fault:
                return fault
        if mounts.apart(paths.inbox, paths.active):
            return f"{paths.inbox}: {mounts.APART}"
        for path in self._config.require:
            if not path.exists():
                return f"{path} is missing"
        return self.probe.fault


def _lack_of_space(folder: Path, reserve_bytes: int) -> str | None:
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    free = disk.f_bavail * disk.f_frsize
    if free < reserve_bytes:
        kept = text.size(reserve_bytes)
        return f"{folder}: only {text.size(free)} free, {kept} are kept in reserve"
    if disk.f_flag & os.ST_RDONLY:
        return f"{folder}: the file system is read-only"
    return None
