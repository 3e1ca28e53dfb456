"""Draw what `status` tells, as lines for a person or as one JSON document.

Its shape, on one line::

    {"daemon": {"state": "up", "pid": 17, "started_at": "...", "pulse_at": "...",
     "stopping": false, "drained_at": null},
     "healthy": true, "why": [], "paused": false, "intake_paused": null,
     "counts": {"running": 1, "pending": 0, "waiting": 1, "held": 0, "failed": 2},
     "ever": {"done": 120, "failed": 3}, "inbox": {"files": 3, "counted_all": true,
     "names": ["b.jpg"], "left_alone": [{"name": "x", "kind": "folder"}]},
     "running": [item, ...], "waiting": [item, ...], "oldest_pending_at": null,
     "next_due_at": "...", "disk": {"free_bytes": 1, "total_bytes": 2}, "generation": "7f3a9c1e",
     "pace": {"minute": 3, "hour": 40, "day": 900, "hours": [0, ...], "counted_all": true}}

*state* is up, hung or down; *stopping* from the signal to the end. *counts* is of now, *ever*
since the journal began. *waiting* has the items due first, *running* all; items are as in
`resumed.documents`, at most 100 of each. *healthy* is about the whole: the daemon is up, turning,
and takes what comes; *why* says what is not so. Failed items are told, but make nothing unhealthy.
"""

from collections.abc import Iterator
from typing import Any

from resumed import address, alive, documents, listing
from resumed.documents import reason
from resumed.entry import Entry
from resumed.glance import Glance
from resumed.listing import clock, plural, span
from resumed.model import Held, Open, Pending, Record, Running, Waiting, timestamp
from resumed.pace import sparkline
from resumed.text import escape, size

# The states whose items are told one by one, or looked through for the oldest.
STATES_TOLD = frozenset({"running", "open", "pending", "waiting"})
ITEMS_LIMIT = 100
_SHOWN_LIMIT = 10
_RESTING = ("held", "failed")


class Picture:
    """One look at an instance, ready to be told."""

    def __init__(self, glance: Glance, disk: tuple[int, int] | None) -> None:
        """*disk* is free and total bytes of the spool's disk, None where that is not told."""
        self.glance = glance
        self._disk = disk
        self._now = glance.now
        self._of: dict[str, list[Entry]] = {name: [] for name in documents.STATES}
        for entry in glance.view.ledger.items.values():
            self._of[documents.state_name(entry.state)].append(entry)
        self._of["waiting"].sort(key=due_at)

    def document(self) -> Record:
        """Describe all of it; see the module."""
        seen, ledger = self.glance, self.glance.view.ledger
        pid, pulse = seen.life.pid, seen.life.pulse_at
        born = alive.started_at(pid) if pid else None
        waiting, reading = self._of["waiting"], seen.view.reading
        why = self.troubles()
        return {
            "daemon": {
                "state": seen.life.state,
                "pid": pid,
                "started_at": _stamp(born),
                "pulse_at": _stamp(pulse),
                "stopping": seen.stopping,
                "drained_at": _stamp(seen.drained_at),
            },
            "healthy": not why,
            "why": why,
            "paused": ledger.paused,
            "intake_paused": self._intake_paused(),
            "counts": {name: self._count(name) for name in self._of},
            "ever": dict(ledger.counts),
            "inbox": self._inbox_document(),
            "running": [self._item(each) for each in self._of["running"][:ITEMS_LIMIT]],
            "waiting": [self._item(each) for each in waiting[:ITEMS_LIMIT]],
            "oldest_pending_at": _stamp(self._oldest()),
            "next_due_at": _stamp(due_at(waiting[0]) if waiting else None),
            "disk": {"free_bytes": self._disk[0], "total_bytes": self._disk[1]}
            if self._disk
            else None,
            "pace": seen.pace.document(),
            "generation": reading.generation if reading else None,
        }

    def troubles(self) -> list[str]:
        """Say why the whole is not well; nothing when it is."""
        seen, life = self.glance, self.glance.life
        told = []
        if life.state == "down" and seen.drained_at is None:
            since = f" since {clock(life.pulse_at, self._now)}" if life.pulse_at else ""
            told.append(f"the daemon is not running{since}")
        elif life.state == "hung":
            silent = span(self._now - (life.pulse_at or self._now))
            told.append(f"the daemon hangs: its loop has not turned for {silent}")
        elif seen.stopping:
            told.append("the daemon is stopping: it takes nothing new")
        if seen.view.ledger.paused:
            told.append("paused by request")
        if why := self._intake_paused():
            told.append(f"intake paused: {why}")
        if seen.inbox.fault:
            told.append(f"the inbox cannot be read: {seen.inbox.fault}")
        return told

    def lines(self, command: str) -> Iterator[str]:
        """Draw it for a person; *command* is how to call `resumed-ctl` again."""
        rows = [self._health(), self._head(), *self._remedies(command)]
        yield from listing.columns([*rows, self._inbox_row(), *self._surroundings()])
        for name in ("running", "open", "pending", "waiting", *_RESTING):
            yield from self._section(name, command)
        ever = self.glance.view.ledger.counts
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ever.items()))
        yield f"ever     {told or 'nothing ended yet'}"
        if self.glance.inbox.strangers:
            yield "left alone in the inbox, as no regular files:"
            rows = [(escape(name), kind) for name, kind in self.glance.inbox.strangers]
            yield from listing.columns(rows, indent="  ")

    def _health(self) -> tuple[str, str]:
        why = self.troubles()
        if self.glance.stopping:
            return "health ", "; ".join(why).removeprefix("the daemon is ")
        return "health ", f"not well: {'; '.join(why)}" if why else "well"

    def _surroundings(self) -> Iterator[tuple[str, str]]:
        seen = self.glance.pace
        most = "" if seen.whole else "at least "
        told = f"{seen.minute} in the last minute, {seen.hour} hour, {most}{seen.day} day"
        yield "pace", f"{told}  {sparkline(seen.hours)}".rstrip()
        oldest = self._oldest()
        if oldest is not None:
            yield "oldest", f"taken {span(self._now - oldest)} ago and not begun"
        if self._disk:
            yield "disk", f"{size(self._disk[0])} free of {size(self._disk[1])}"

    def _head(self) -> tuple[str, str]:
        life = self.glance.life
        process = f", process {life.pid}" if life.pid else ""
        if life.state == "up":
            born = alive.started_at(life.pid) if life.pid else None
            since = f" since {clock(born, self._now)}" if born else ""
            return "daemon ", f"up{since}{process}"
        if (drained_at := self.glance.drained_at) is not None:
            return "daemon ", f"none; the last drain ended at {clock(drained_at, self._now)}"
        told = self.troubles()[0].removeprefix("the daemon ").removeprefix("is ")
        return "daemon ", f"{told}{process}"

    def _remedies(self, command: str) -> Iterator[tuple[str, str]]:
        seen = self.glance
        if seen.life.state == "hung":
            end = f"'kill -9 {seen.life.pid}', then " if seen.life.pid else "end it, then "
            again = address.start(command).replace("systemctl start", "systemctl restart")
            yield "", f"a watchdog of systemd restarts it; else {end}'{again}'"
        elif seen.life.state == "down" and seen.view.reading and seen.drained_at is None:
            yield "", f"'{address.start(command)}' goes on where it ended"
        if seen.life.state == "down" and seen.view.reading is None:
            yield "", f"nothing was ever run here; '{address.program(command, 'run')}' begins"
        if seen.view.ledger.paused:
            yield "", f"paused: nothing new is taken; '{command} unpause' goes on"
        if why := self._intake_paused():
            yield "", f"intake paused: {why}; goes on by itself"

    def _inbox_row(self) -> tuple[str, str]:
        found = self.glance.inbox
        if found.fault:
            return "inbox", f"cannot be read: {found.fault}"
        least = "" if found.whole else "at least "
        names = ""
        if found.files:
            shown = [escape(name) for name in found.names[:_SHOWN_LIMIT]]
            more = ", ..." if found.files > len(shown) else ""
            names = f": {', '.join(shown)}{more}"
        return "inbox", f"{least}{plural(found.files, 'file')}{names}"

    def _section(self, name: str, command: str) -> Iterator[str]:
        entries = self._of[name]
        hint = ""
        if name == "failed" and self._count(name):
            hint = f"  why: '{command} failures'"
        if name == "held" and self._count(name):
            hint = f"  go on: '{command} release NAME'"
        yield f"{name:8} {self._count(name)}{hint}"
        if name in ("running", "open", "waiting"):
            shown = entries[:_SHOWN_LIMIT]
            rows = [(escape(each.name), self._told(each)) for each in shown]
            yield from listing.columns(rows, indent="  ")
            if len(entries) > len(shown):
                yield f"  and {len(entries) - len(shown)} more: '{command} ls --state {name}'"

    def _told(self, entry: Entry) -> str:
        match entry.state:
            case Running(attempt, at):
                told = self.glance.told(entry)
                step = f" in step {escape(told['step'])}" if told.get("step") else ""
                worker = f" (worker {told['worker']})" if "worker" in told else ""
                far = how_far(told.get("progress"))
                return f"attempt {attempt}, for {span(self._now - at)}{step}{far}{worker}"
            case Waiting(attempt, step, fault, at, delay):
                due = at + delay
                when = f"in {span(due - self._now)}" if due > self._now else "now due"
                where = f" in step {escape(step)}" if step else ""
                return f"attempt {attempt + 1} {when} ({clock(due, self._now)}){where}: " + reason(
                    fault
                )
            case Open(at):
                return f"a job, for {span(self._now - at)}"
            case Held(why, _, _):
                return escape(why)
            case _:
                return ""

    def _item(self, entry: Entry) -> Record:
        return documents.item(entry, self.glance.told(entry))

    def _intake_paused(self) -> str | None:
        if self.glance.life.state == "down":
            return None
        why = self.glance.hints["now"].get("intake_paused")
        return escape(why) if isinstance(why, str) else None

    def _inbox_document(self) -> Record:
        found = self.glance.inbox
        return {
            "files": found.files,
            "counted_all": found.whole,
            "names": found.names,
            "left_alone": [{"name": name, "kind": kind} for name, kind in found.strangers],
            "fault": found.fault,
        }

    def _count(self, name: str) -> int:
        return len(self._of[name]) + self.glance.view.unread.get(name, 0)

    def _oldest(self) -> float | None:
        waits = [entry.claimed_at for entry in self._of["pending"]]
        return min(waits, default=None)


def due_at(entry: Entry) -> float:
    """Return when a waiting item is tried again; for others, now."""
    match entry.state:
        case Waiting(_, _, _, at, delay):
            return at + delay
        case Pending():
            return entry.claimed_at
        case _:
            return 0.0


def how_far(progress: Any) -> str:  # noqa: ANN401 - what the daemon wrote, perhaps another version
    """Write the progress that a handler told; nothing where none was."""
    match progress:
        case [int() | float() as done, int() | float() as total] if total > 0:
            return f", {100 * done / total:.0f} %"
        case [int() | float() as done, _]:
            return f", {done:g} so far"
        case _:
            return ""


def _stamp(at: float | None) -> str | None:
    return None if at is None else timestamp(at)
