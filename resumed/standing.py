"""Say how a file in the inbox stands, by the daemon's own gate and rules; it is only looked at."""

import os
import time
from dataclasses import dataclass
from typing import Protocol

from resumed import sidecar, text, writers
from resumed.arrival import Foreign, Growing, Ignored, Ready, Sidecar, Unreadable, Vanished, Verdict
from resumed.gate import Gate
from resumed.glance import Glance
from resumed.listing import span
from resumed.model import Record
from resumed.rules import Rules
from resumed.settings import Config
from resumed.stranger import Folder
from resumed.text import escape


@dataclass(frozen=True, slots=True)
class Reason:
    """Say how one file is: a *verdict* in a word or two, a sentence, and what to *do*."""

    name: str
    verdict: str
    sentence: str
    do: str = ""
    id: str | None = None

    def document(self) -> Record:
        """Describe it as JSON."""
        return {
            "name": self.name,
            "id": self.id,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "do": self.do,
        }


class Whole(Protocol):
    """Say why nothing at all is taken."""

    def __call__(self, name: str) -> Reason | None:
        """Return why *name* is not taken though it is ready, None when it will be."""
        ...


class Arrivals:
    """Look at files in the inbox of one instance."""

    def __init__(self, config: Config, glance: Glance, whole: Whole) -> None:
        self._config = config
        self._glance = glance
        self._whole = whole
        self._inbox = config.paths.inbox
        self._rules = Rules(config.match, config.ignore, config.marker)

    def ask(self, name: str) -> Reason:
        """Say how *name* stands."""
        if "/" in name and not self._config.recursive:
            return Reason(name, "ignored", "is in a subfolder", "set recursive = true, or move it")
        folder = Folder(self._inbox)
        try:
            gate = Gate(
                folder,
                self._rules,
                settle_seconds=0.0,
                clock=time.monotonic,
                is_sidecar=sidecar.is_sidecar,
            )
            return self._weigh(name, gate.examine(name, None))
        finally:
            folder.close()

    def _weigh(self, name: str, verdict: Verdict) -> Reason:  # noqa: C901, PLR0911 - one for each
        match verdict:
            case Ready(_, _, fd, _):
                if fd is not None:
                    os.close(fd)
                return self._quiet(name)
            case Growing(_, _, "open for writing", _):
                return self._written(name)
            case Growing(_, _, "no marker", _):
                marker = escape(self._rules.marker_of(name) or "")
                do = "its producer makes that when the file is complete"
                return Reason(name, "no marker", f"waits for its marker {marker}", do)
            case Growing():
                return self._quiet(name)
            case Unreadable(_, _, _, fault):
                return self._closed(name, fault)
            case Ignored(_, rule):
                do = f"rename it, or change the rule in {self._config.file}"
                return Reason(name, "ignored", f"ignored because of {rule}", do)
            case Foreign(_, kind):
                do = "drop a regular file instead"
                return Reason(name, "left alone", f"is a {kind}, which is never taken", do)
            case Sidecar():
                return Reason(name, "ignored", "is a note of ours, and will be removed")
            case Vanished():
                return _gone(name)

    def _quiet(self, name: str) -> Reason:
        """Go on with a file that nobody writes, as far as the lease tells."""
        path = self._inbox / name
        try:
            status = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return _gone(name)
        if writers.of_file(path):
            return self._written(name)
        owner = self._glance.life.owner
        if owner is not None and not writers.may_read(owner, status):
            return self._closed(name, f"its mode keeps {writers.user_of(owner)} out")
        quiet, settle = time.time() - status.st_ctime, self._config.settle_seconds
        if 0 <= quiet < settle:
            told = f"quiet for {quiet:.1f} of {settle:g} s"
            return Reason(name, "settling", told, "it is taken if it stays so")
        return self._whole(name) or self._soon(name)

    def _written(self, name: str) -> Reason:
        who = writers.of_file(self._inbox / name)
        told = f" by {', '.join(map(str, who))}" if who else ""
        do = "it is taken when the writer closes it"
        do += "" if who else "; as root, this names the writer"
        return Reason(name, "open for writing", f"still open for writing{told}", do)

    def _closed(self, name: str, fault: str) -> Reason:
        user = writers.user_of(self._glance.life.owner)
        return Reason(name, "unreadable", f"unreadable: {fault}", f"let {user} read it")

    def _soon(self, name: str) -> Reason:
        told = self._glance.hints["now"]
        if told.get("watching") is False:
            left = span(float(told.get("next_scan_at") or 0) - time.time())
            sentence = f"ready; this file system tells of no changes: next scan in {left}"
            return Reason(name, "next scan", sentence, "nothing to do; rescan says how often")
        most = text.duration(self._config.rescan_seconds)
        return Reason(name, "ready", f"ready: it is taken next, in {most} at the latest")


def _gone(name: str) -> Reason:
    return Reason(name, "gone", "was taken away just now")
