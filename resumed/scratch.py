"""Give each attempt folders to write into that cost next to nothing when they stay empty.

A scratch folder, ``active/ID.work``, holds ``work`` (the handler's own), ``out`` (outputs that
are not yet published) and ``published``. It is made when it is first asked for. A command
cannot ask, so it has one in every attempt, and most stay empty: making and removing them would
cost as much as a small program. So a worker keeps an empty one as a spare, under an ID that no
item has, and renames it for the next item. A spare that a dead worker leaves belongs to no
living item, and is removed like any such scratch folder.
"""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from resumed import durable


class Spare:
    """The one empty scratch folder that a worker may have left over."""

    def __init__(self) -> None:
        self._name = f"{0:011x}-{os.getpid():010x}.work"
        self._parent: Path | None = None

    def become(self, scratch: Path) -> None:
        """Turn into *scratch*, or make it anew if there is no spare folder there."""
        if self._parent == scratch.parent:
            self._parent = None
            with suppress(OSError):
                _rename(scratch.parent, self._name, scratch.name)
                return  # with its two folders, which `keep` saw
        for folder in (scratch, scratch / "out", scratch / "work"):
            with suppress(FileExistsError):
                folder.mkdir(0o700, parents=True)

    def keep(self, scratch: Path) -> bool:
        """Take *scratch* as the spare folder if nothing is in it; tell whether it was."""
        with suppress(OSError):
            if _entries(scratch) == {"out", "work"} and not (
                _entries(scratch / "out") or _entries(scratch / "work")
            ):
                _rename(scratch.parent, scratch.name, self._name)
                self._parent = scratch.parent
                return True
        return False


class Scratch:
    """The scratch folder of one attempt."""

    def __init__(self, path: str | Path, spare: Spare) -> None:
        self.used = False
        self._place = path
        self._spare = spare

    @cached_property
    def path(self) -> Path:
        """Where it is, or would be."""
        # Made for those who ask: to make two of them takes longer than all else of some parts.
        return Path(self._place)

    def folder(self, name: str) -> Path:
        """Return the subfolder ``work`` or ``out``, made if it was not there."""
        if not self.used:
            self._spare.become(self.path)
            self.used = True
        return self.path / name

    def leave(self) -> bool:
        """Let go of it; tell whether there is something that the outcome must remove."""
        if not os.path.lexists(self.path):
            return False
        return not self._spare.keep(self.path)


def _entries(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {each.name for each in entries}


def _rename(parent: Path, source: str, target: str) -> None:
    fd = durable.open_folder(parent)
    try:
        durable.move_folder(fd, source, target)
    finally:
        os.close(fd)
