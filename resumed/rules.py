"""Decide by its name alone whether a file in the inbox can be an item.

Names are compared as they are, case included; a pattern is a glob for the last component
of a path. A name that is ignored because of a pattern is a *temporary* one: programs that
deliver files write under such a name and rename when they have finished.

A scan of a million names passes through here. Nearly every pattern is a whole name, a
beginning or an ending, and those are compared without a regular expression.
"""

import fnmatch
import re
from collections.abc import Sequence

SHIPPED_IGNORE = (
    ".*",
    # written by programs that copy, download or edit
    *("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.download"),
    *("*.opdownload", "*.aria2", "*.writing", "*.inprogress", "*.uploading", "*.lock"),
    *("*.camelLock", "*.swp", "*.swx", "*.bak", "*~", "4913"),
    *(".pureftpd-upload.*", ".in.*", "~$*", "._*", ".goutputstream-*", ".nfs*"),
    *(".fuse_hidden*", ".smbdelete*", ".syncthing.*", "~syncthing~*"),
    # left about by desktops, storage boxes and file systems
    *(".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir", "#recycle", ".stfolder"),
    *(".stversions", ".Trashes", ".Spotlight-V100", ".AppleDouble", "__MACOSX", "lost+found"),
)
_NAME = "{name}"
_SPECIAL = re.compile(r"[*?\[]")


def patterns_in_force(ignore: Sequence[str]) -> tuple[str, ...]:
    """Add the user's *ignore* to the shipped list; ``"!PATTERN"`` takes one out of it."""
    dropped = {pattern[1:] for pattern in ignore if pattern.startswith("!")}
    added = [pattern for pattern in ignore if not pattern.startswith("!")]
    shipped = [pattern for pattern in SHIPPED_IGNORE if pattern not in dropped]
    return tuple(dict.fromkeys([*shipped, *added]))


class _Globs:
    """Many patterns, compiled so that a name which fits none of them is known at once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        exact, starts, ends, others = set(), [], [], []
        for pattern in patterns:
            if not _SPECIAL.search(pattern):
                exact.add(pattern)
            elif pattern.endswith("*") and not _SPECIAL.search(pattern[:-1]):
                starts.append(pattern[:-1])
            elif pattern.startswith("*") and not _SPECIAL.search(pattern[1:]):
                ends.append(pattern[1:])
            else:
                others.append(fnmatch.translate(pattern))
        self._patterns = tuple(patterns)
        self._exact = frozenset(exact)
        self._starts = tuple(starts)
        self._ends = tuple(ends)
        self._other = re.compile("|".join(others)) if others else None

    def fit(self, name: str) -> bool:
        return (
            name in self._exact
            or name.startswith(self._starts)
            or name.endswith(self._ends)
            or (self._other is not None and self._other.match(name) is not None)
        )

    def first(self, name: str) -> str | None:
        """Name the pattern that fits; slow, for the few names that one does fit."""
        return next((p for p in self._patterns if fnmatch.fnmatchcase(name, p)), None)


class Rules:
    """The ``match``, ``ignore`` and ``marker`` of one configuration, ready for use."""

    def __init__(
        self, match: Sequence[str], ignore: Sequence[str] = (), marker: str | None = None
    ) -> None:
        self._ignore = _Globs(patterns_in_force(ignore))
        self._match = _Globs(match)
        self._match_rule = f"match = [{', '.join(map(_quoted, match))}]"
        self._marker_rule = f"marker = {_quoted(marker)}" if marker else ""
        self._before, _, self._after = (marker or "").partition(_NAME)
        self._marked = marker is not None

    def ignored_by(self, name: str) -> str | None:
        """Return the rule because of which *name* is no item, None when it may be one."""
        last = name[name.rfind("/") + 1 :]
        if self._ignore.fit(last):
            return f"ignore {_quoted(self._ignore.first(last) or last)}"
        if self._marked and self.is_marker(last):
            return self._marker_rule
        if not self._match.fit(last):
            return self._match_rule
        return None

    def temporary(self, name: str) -> bool:
        """Tell whether *name* is one under which files are still being written."""
        return self._ignore.fit(name[name.rfind("/") + 1 :])

    def marker_of(self, name: str) -> str | None:
        """Return the name of the marker that makes *name* ready, None without markers."""
        if not self._marked:
            return None
        folder, slash, last = name.rpartition("/")
        return f"{folder}{slash}{self._before}{last}{self._after}"

    def is_marker(self, name: str) -> bool:
        """Tell whether *name* is the marker of some other name."""
        last = name[name.rfind("/") + 1 :]
        return (
            self._marked
            and len(last) > len(self._before) + len(self._after)
            and last.startswith(self._before)
            and last.endswith(self._after)
        )


def _quoted(pattern: str) -> str:
    return f'"{pattern}"'
