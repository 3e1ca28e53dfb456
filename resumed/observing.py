"""Watch how producers really deliver, and propose the settings that fit: `doctor --observe`.

The inbox is read again and again, so that this works where the kernel tells of no changes, too.
One file is one inode of one birth, whatever it is called meanwhile. Of it are kept the names it
had, its size, and how long it lay unchanged *and closed* before it changed again: an open file
needs no settling, since the kernel tells of its writer. What happens between two looks is not seen.

Files are only looked at; a daemon that runs takes them as ever, which may hide their end.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

from resumed import stranger, text
from resumed.finding import Finding
from resumed.listing import plural
from resumed.rules import Rules
from resumed.settings import Config
from resumed.stranger import Birth, Folder

LOOK_SECONDS = 0.02
_MATCHES_LIMIT = 4
_NAMES_LIMIT = 3
_SAFETY = 2.0


class Sight(NamedTuple):
    """Say how a file looked at a moment; *open* when somebody had it open for writing."""

    at: float
    name: str
    birth: Birth
    size: int
    mtime_ns: int
    open: bool


@dataclass(slots=True)
class Delivery:
    """What was seen of one file; *names* in their order, *gap_seconds* the longest quiet one."""

    last: Sight
    names: list[str] = field(default_factory=list)
    gap_seconds: float = 0.0
    quiet_since: float | None = None

    @property
    def renamed(self) -> bool:
        """Tell whether it was written under another name than its last."""
        return len(self.names) > 1


class Deliveries:
    """Add up what is seen of many files."""

    def __init__(self, present: Iterable[Sight]) -> None:
        """*present* lay there before: they count once they change."""
        self._before = {sight.birth: sight for sight in present}
        self._of: dict[Birth, Delivery] = {}

    def __iter__(self) -> Iterator[Delivery]:
        """Yield all that were delivered, in the order in which they appeared."""
        return iter(self._of.values())

    def see(self, sight: Sight) -> None:
        """Take in one look at one file."""
        known = self._of.get(sight.birth)
        if known is None:
            before = self._before.get(sight.birth)
            if before is not None and _same(before, sight):
                return
            quiet_since = None if sight.open else sight.at
            self._of[sight.birth] = Delivery(sight, [sight.name], quiet_since=quiet_since)
            return
        if sight.name != known.names[-1]:
            known.names.append(sight.name)
        if not _same(known.last, sight):
            if known.quiet_since is not None:
                known.gap_seconds = max(known.gap_seconds, sight.at - known.quiet_since)
            known.quiet_since = None
        if sight.open:
            known.quiet_since = None
        elif known.quiet_since is None:
            known.quiet_since = sight.at
        known.last = sight


def observe(
    config: Config,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """Watch the inbox for so long; yield that it began, and at the end what it taught."""
    stranger.ignore_lease_breaks()
    folder = Folder(config.paths.inbox)
    try:
        begun = clock()
        deliveries = Deliveries(_look(config, folder, begun, {}))
        told = f"watching {config.paths.inbox} for {text.duration(seconds)}"
        yield Finding("fine", "observe", told)
        seen: dict[Birth, Sight] = {}
        while (now := clock()) < begun + seconds:
            for sight in _look(config, folder, now, seen):
                seen[sight.birth] = sight
                deliveries.see(sight)
            # Of a huge inbox no more than a fifth of the time is spent on reading it.
            sleep(max(LOOK_SECONDS, 4 * (clock() - now)))
    finally:
        folder.close()
    yield from propose(deliveries, config, seconds)


def propose(deliveries: Iterable[Delivery], config: Config, seconds: float) -> Iterator[Finding]:
    """Say what was delivered, and which settings fit that."""
    found = list(deliveries)
    if not found:
        told = f"nothing was delivered within {text.duration(seconds)}: watch while producers work"
        yield Finding("warning", "observe", told)
        return
    renamed = sum(each.renamed for each in found)
    sizes = [each.last.size for each in found]
    told = f"{plural(len(found), 'file')} of {text.size(min(sizes))} to {text.size(max(sizes))}"
    yield Finding("fine", "observe", f"{told} delivered, {renamed} of them by rename")
    rules = Rules(config.match, config.ignore, config.marker)
    yield _settle(found, config.settle_seconds)
    yield _ignore(found, config, rules)
    yield _match(found, config, rules)


def _settle(found: list[Delivery], settle_seconds: float) -> Finding:
    # Under a temporary name a file may rest as long as it likes.
    longest = max((each.gap_seconds for each in found if not each.renamed), default=0.0)
    wanted = _round_up(_SAFETY * longest)
    told = f"files lay closed for up to {longest:.1f} s before they went on"
    if wanted > settle_seconds:
        return Finding("warning", "settle", f'{told}: set settle = "{text.duration(wanted)}"')
    if not longest:
        told = "no file went on after it was closed"
    return Finding("fine", "settle", f"{told}; {text.duration(settle_seconds)} is enough")


def _ignore(found: list[Delivery], config: Config, rules: Rules) -> Finding:
    """Propose patterns for names under which files were written that are no items' names."""
    missing: dict[str, None] = {}
    for each in found:
        for name in each.names[:-1]:
            if rules.ignored_by(name) is None:
                missing[temporary_pattern(name, each.names[-1])] = None
    if not missing:
        return Finding("fine", "ignore", "every name that a file had while it was written is known")
    told = text.escape(_listed([*config.ignore, *missing]))
    why = "files are written under names that look like items"
    return Finding("warning", "ignore", f"{why}: set ignore = {told}")


def _match(found: list[Delivery], config: Config, rules: Rules) -> Finding:
    names = [each.names[-1] for each in found]
    left = [name for name in names if (rules.ignored_by(name) or "").startswith("match")]
    if left:
        shown = ", ".join(map(text.escape, left[:_NAMES_LIMIT]))
        told = f"{plural(len(left), 'file')} will never be taken, such as {shown}: widen match"
        return Finding("warning", "match", told)
    taken = [name for name in names if rules.ignored_by(name) is None]
    endings = sorted({PurePath(name).suffix for name in taken})
    if config.match == ("*",) and taken and all(endings) and len(endings) <= _MATCHES_LIMIT:
        told = text.escape(_listed([f"*{each}" for each in endings]))
        return Finding("fine", "match", f"all fit; match = {told} would keep others out")
    return Finding("fine", "match", "all fit")


def temporary_pattern(name: str, final: str) -> str:
    """Return a pattern for names like *name*, which a file had before it was called *final*."""
    name, final = PurePath(name).name, PurePath(final).name
    for whole in (final, PurePath(final).stem):
        if name.startswith(whole) and len(name) > len(whole):
            return f"*{name[len(whole) :]}"
        if name.endswith(whole) and len(name) > len(whole):
            return f"{name[: -len(whole)]}*"
    ending = PurePath(name).suffix
    return f"*{ending}" if ending and ending != PurePath(final).suffix else name


def _look(config: Config, folder: Folder, now: float, seen: dict[Birth, Sight]) -> list[Sight]:
    sights: list[Sight] = []
    for name in _names(config):
        with suppress(OSError):
            sights.append(stranger.at(folder.fd, name, _Eye(name, now, seen)))
    return sights


@dataclass(frozen=True, slots=True)
class _Eye:
    """Look at one regular file; who writes is only asked of one that may be young."""

    name: str
    now: float
    seen: dict[Birth, Sight]

    def __call__(self, folder_fd: int, last: str) -> Sight:
        fd = stranger.open_file(folder_fd, last)
        try:
            about = os.fstat(fd)
            birth = stranger.birth_of(folder_fd, last) or (about.st_ino, 0)
            sight = Sight(self.now, self.name, birth, about.st_size, about.st_mtime_ns, open=False)
            before = self.seen.get(birth)
            if before is None or before.open or not _same(before, sight):
                return sight._replace(open=bool(stranger.has_writer(fd)))
            return sight
        finally:
            os.close(fd)


def _names(config: Config) -> Iterator[str]:
    folders = [""]
    while folders:
        inside = folders.pop()
        with suppress(OSError), os.scandir(config.paths.inbox / inside) as entries:
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_file(follow_symlinks=False):
                    yield name
                elif config.recursive and entry.is_dir(follow_symlinks=False):
                    folders.append(name)


def _same(one: Sight, other: Sight) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _round_up(seconds: float) -> float:
    """Round a duration up to what a person would write."""
    return float(math.ceil(seconds)) if seconds > 1 else math.ceil(seconds * 10) / 10


def _listed(patterns: list[str]) -> str:
    return "[" + ", ".join(f'"{each}"' for each in patterns) + "]"
