"""Build the parts of one instance from its configuration, and build some of them anew.

What a reload may change (how files are found, judged, run and retried) is in `Parts.adapt`;
what it may not (where everything lies) needs a restart.
"""

import errno
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass

from resumed import durable, filesystem, sidecar
from resumed.address import Address
from resumed.claims import Claims
from resumed.config import DEFAULT_FILE
from resumed.entry import Entry
from resumed.errors import ConfigError, LockedError, Mistake, StorageError
from resumed.gate import Gate
from resumed.intake import Intake
from resumed.model import Failed
from resumed.policy import Policy
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder
from resumed.rules import Rules
from resumed.settings import Config, Paths
from resumed.sidecar import Advice
from resumed.spool import Spool
from resumed.verdict import Limits

ACTIVE_LOCK = ".lock"
GARBAGE_OBJECTS = 50_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """Hold what makes a run differ from the next: two clocks and a source of random bits."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    bits: Callable[[int], int]

    def mint(self) -> str:
        """Make an id that was never used: the time, and forty random bits."""
        return f"{max(0, int(self.wall() * 1000)):011x}-{self.bits(40):010x}"


class Locks:
    """The two locks that keep a second instance out: of the state, and of the spool."""

    def __init__(self, paths: Paths) -> None:
        """Take both.

        Raises:
            LockedError: Another instance is at work here.
            ConfigError: A folder is missing or closed to us.
        """
        self._held: list[int] = []
        for path in (paths.lock, paths.active / ACTIVE_LOCK):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                fd = os.open(path, flags, 0o600)
            except OSError as error:
                self.close()
                raise ConfigError((Mistake(path, 0, _advice(error)),)) from error
            self._held.append(fd)
            try:
                durable.lock(fd)
            except (LockedError, StorageError):
                self.close()
                raise
        self.touch()  # or a long start would look as if the last run were hung

    def touch(self) -> None:
        """Let everybody see that the main loop turns."""
        os.utime(self._held[0])

    def close(self) -> None:
        """Let go of both; the files stay, and the first tells since when nobody is there."""
        if len(self._held) > 1:
            self.touch()
        while self._held:
            os.close(self._held.pop())


def _advice(error: OSError) -> str:
    """Say what is wrong with a folder, and what hides it when systemd started us."""
    fault = str(error.strerror)
    if "INVOCATION_ID" not in os.environ:
        if error.errno == errno.EROFS:
            return f"{fault}: mount it for writing, or mend [paths]"
        return f"{fault}: make the folder, or mend [paths]; 'resumed check' tells more"
    return (
        f"{fault}: make the folder, mend [paths], or let the unit's sandbox show it by "
        "ReadWritePaths= or BindPaths=, as in /usr/share/doc/resumed/drop-ins/"
    )


def collect_seldom() -> None:
    """Let Python look for garbage less often: next to none of ours needs to be looked for.

    What is known of waiting items is kept, and would be gone through again and again.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def make_folders(paths: Paths) -> None:
    """Make the folders of the state that are missing; those of the spool are not ours to make."""
    wanted = ((paths.history, 0o750), (paths.jobs, 0o750), (paths.requests, 0o3730))
    for folder, mode in wanted:
        try:
            folder.mkdir(mode=0o700)
            folder.chmod(mode)
        except FileExistsError:
            continue
        except OSError as error:
            mistake = Mistake(folder, 0, f"cannot be made: {_advice(error)}")
            if isinstance(error, FileNotFoundError):  # what is missing is the folder around it
                mistake = Mistake(folder.parent, 0, _advice(error))
            raise ConfigError((mistake,)) from error


def limits(config: Config) -> Limits:
    """Make what decides how attempts end."""
    return Limits(Policy(config.retry), config.max_crashes)


def rules(config: Config) -> Rules:
    """Make what decides by a name alone."""
    return Rules(match=config.match, ignore=config.ignore, marker=config.marker)


def ctl(config: Config) -> str:
    """Say how `resumed-ctl` is called for this instance."""
    if config.file == DEFAULT_FILE:
        return Address().ctl
    at_home = config.paths.spool == config.folder
    return Address(home=config.folder).ctl if at_home else Address(config.file).ctl


def reconciler(config: Config, spool: Spool, recorder: Recorder) -> Reconciler:
    """Make what moves files after their records."""
    advice = Advice(ctl(config), str(config.paths.inbox), config.retry.max_attempts)

    def render(entry: Entry, kept_as: str) -> bytes:
        if not isinstance(entry.state, Failed):
            raise TypeError(entry.state)
        return sidecar.render(entry.state, item_id=entry.id, kept_as=kept_as, advice=advice)

    return Reconciler(spool, recorder, render, delete_done=config.on_done == "delete")


def gate(config: Config, spool: Spool, clocks: Clocks) -> Gate:
    """Make what judges arrivals."""
    return Gate(
        spool.inbox,
        rules(config),
        settle_seconds=config.settle_seconds,
        clock=clocks.monotonic,
        is_sidecar=sidecar.is_sidecar,
    )


def intake(config: Config, spool: Spool, clocks: Clocks, tell: Callable[..., None]) -> Intake:
    """Make what follows the inbox."""

    def tell_of(event: str, name: str, detail: str) -> None:
        key = "kind" if event == "left_alone" else "why"
        tell(event, name=name, **{key: detail})

    return Intake(gate(config, spool, clocks), recursive=config.recursive, tell=tell_of)


def claims(  # noqa: PLR0913 - what claims depend on
    config: Config,
    spool: Spool,
    recorder: Recorder,
    clocks: Clocks,
    *,
    moves: Reconciler,
    tell: Callable[..., None],
) -> Claims:
    """Make what takes ready files."""
    return Claims(
        spool,
        recorder,
        workers=config.workers,
        mint=clocks.mint,
        forget_note=moves.remove_sidecar,
        clock=clocks.monotonic,
        one_sync=filesystem.covers(config.paths.active, config.paths.journal),
        tell=tell,
    )
