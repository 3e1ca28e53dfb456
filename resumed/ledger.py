"""Add the records up: what is known of every item that is not over, and nothing else.

`Ledger.apply` takes one record and changes what is in memory accordingly; it never opens a
file and never looks at a clock, so the same records always add up to the same ledger.
`Ledger.facts` tells it again in the fewest records: that is what a rewritten journal holds.

The kinds and their particulars (*id* is in each that is about an item)::

    claimed      id, name, inode, size, mtime_ns, owner; changed: true when the file was
                 changed while it ran and begins anew; replaced: true when a person gave
                 the item another one; in a rewritten journal also
                 attempts, failures, crashes, changes and kept_as, as they stood
    started      id, attempt
    stepped      id, step, result
    waiting      id, attempt, step, error: {kind, text}, delay (seconds)
    interrupted  id, attempt
    crashed      id, attempt
    done         id, attempt, result, seconds
    failed       id, attempt, step, error: {kind, text}, output
    gone         id, why
    put_away     id, as (the name in its folder, null when unlinked); ends done and removed
    retried      id, fresh: true when recorded steps are forgotten
    held         id, why        released  id        removed  id
    versioned    id of nothing: version; recorded steps of another version are forgotten
    job_opened   id: its parts run now, and have a journal of their own
    job_ended    id, parts, done, failed; before the item's done
    answered     request, verb, ok, answer
    paused, unpaused   by       reloaded  {}         synced  {}
"""

from collections.abc import Callable, Iterator

from resumed.entry import Entry, retell
from resumed.model import (
    Done,
    Fact,
    Failed,
    Fault,
    Held,
    Identity,
    Open,
    Pending,
    Record,
    Removed,
    Running,
    Waiting,
    instant,
)

ANSWERS_KEPT = 256


class UnknownKindError(ValueError):
    """Say that a record is of a kind that this program does not know."""


class Ledger:
    """The sum of all records. *items* holds those that are not over, by id, oldest first."""

    def __init__(self) -> None:
        self.items: dict[str, Entry] = {}
        self.kept: dict[Identity, str] = {}  # failed items by their file, which may come back
        self.counts: dict[str, int] = {}
        self.answers: dict[str, Record] = {}
        self.version = ""
        self.paused = False
        self._appliers: dict[str, Callable[[Record], None]] = {
            "claimed": self._claimed,
            "started": self._started,
            "stepped": self._stepped,
            "waiting": self._waiting,
            "interrupted": self._interrupted,
            "crashed": self._crashed,
            "done": self._done,
            "failed": self._failed,
            "gone": self._gone,
            "put_away": self._put_away,
            "retried": self._retried,
            "held": self._held,
            "released": self._released,
            "removed": self._removed,
            "opened": self._opened,
            "job_opened": self._job_opened,
            "job_ended": self._nothing,
            "versioned": self._versioned,
            "answered": self._answered,
            "paused": self._pause,
            "unpaused": self._pause,
            "reloaded": self._nothing,
            "synced": self._nothing,
        }

    def __eq__(self, other: object) -> bool:
        """Compare by meaning: a rewritten journal must add up to an equal ledger."""
        return isinstance(other, Ledger) and self._sum() == other._sum()

    __hash__ = None  # type: ignore[assignment] # it changes

    def apply(self, record: Record) -> None:
        """Take in *record*.

        Raises:
            UnknownKindError: A newer program wrote it.
        """
        applier = self._appliers.get(record["kind"])
        if applier is None:
            raise UnknownKindError(f"{record['kind']!r}")
        applier(record)

    def facts(self) -> Iterator[Fact]:
        """Tell all this again in the fewest records."""
        if self.version:
            yield Fact("versioned", 0, {"version": self.version})
        if self.paused:
            yield Fact("paused", 0, {"by": ""})
        for entry in self.items.values():
            yield from retell(entry)
        for answer in self.answers.values():
            particulars = {k: answer[k] for k in ("request", "verb", "ok", "answer")}
            yield Fact("answered", _at(answer), particulars)

    def _sum(self) -> tuple[object, ...]:
        answers = list(self.answers)
        return self.items, self.counts, self.version, self.paused, answers

    def _entry(self, record: Record) -> Entry:
        return self.items[record["id"]]

    def _opened(self, record: Record) -> None:
        self.counts = dict(record["counts"])

    def _claimed(self, r: Record) -> None:
        identity = Identity(r["inode"], r["size"], r["mtime_ns"])
        item_id = str(r["id"])
        entry = self.items.get(item_id)
        if entry is None:
            at = _at(r)
            entry = Entry(item_id, str(r["name"]), identity, r["owner"], at)
            self.items[item_id] = entry
            for name in ("attempts", "failures", "crashes", "changes", "kept_as", "job"):
                if name in r:
                    setattr(entry, name, r[name])
            return
        self._forget_kept(entry)
        entry.identity = identity
        entry.state = Pending()
        if r.get("replaced"):
            entry.kept_as = None
        if r.get("changed"):
            entry.changes += 1
        entry.steps = {}
        entry.failures = entry.crashes = 0

    def _started(self, r: Record) -> None:
        entry = self._entry(r)
        attempt: int = r["attempt"]
        entry.state = Running(attempt, _at(r))
        entry.attempts = attempt
        entry.kept_as = None

    def _stepped(self, r: Record) -> None:
        self._entry(r).steps[str(r["step"])] = r["result"]

    def _waiting(self, r: Record) -> None:
        entry = self._entry(r)
        entry.state = Waiting(
            r["attempt"],
            r["step"],
            _fault(r),
            _at(r),
            r["delay"],
        )
        entry.attempts = max(entry.attempts, r["attempt"])
        if not r.get("retold"):
            entry.failures += 1
            entry.crashes = 0

    def _interrupted(self, r: Record) -> None:
        self._entry(r).state = Pending()

    def _crashed(self, r: Record) -> None:
        entry = self._entry(r)
        entry.state = Pending()
        entry.attempts = max(entry.attempts, r["attempt"])
        entry.crashes += 1

    def _done(self, r: Record) -> None:
        self._entry(r).state = Done(r["result"], _at(r))
        self._count("done", r)

    def _failed(self, r: Record) -> None:
        entry = self._entry(r)
        entry.state = Failed(
            r["attempt"],
            r["step"],
            _fault(r),
            str(r["output"]),
            _at(r),
            entry.kept_as,
        )
        if entry.kept_as is not None:
            self.kept[entry.identity] = entry.id
        self._count("failed", r)

    def _gone(self, r: Record) -> None:
        self._forget_kept(self._entry(r))
        del self.items[r["id"]]
        self._count("gone", r)

    def _put_away(self, r: Record) -> None:
        entry = self._entry(r)
        kept_as: str | None = r["as"]
        match entry.state:
            case Failed(attempt, step, fault, output, at):
                entry.kept_as = kept_as
                entry.state = Failed(attempt, step, fault, output, at, kept_as)
                if kept_as is not None:
                    self.kept[entry.identity] = entry.id
            case Held(reason, at):
                entry.kept_as = kept_as
                entry.state = Held(reason, at, kept_as)
            case _:
                del self.items[entry.id]

    def _retried(self, r: Record) -> None:
        entry = self._entry(r)
        self._forget_kept(entry)
        entry.state = Pending()
        entry.failures = entry.crashes = entry.changes = 0
        if r.get("fresh"):
            entry.steps = {}

    def _held(self, r: Record) -> None:
        entry = self._entry(r)
        entry.state = Held(str(r["why"]), _at(r), entry.kept_as)

    def _released(self, r: Record) -> None:
        self._entry(r).state = Pending()

    def _removed(self, r: Record) -> None:
        self._forget_kept(self._entry(r))
        self._entry(r).state = Removed(_at(r))
        self._count("removed", r)

    def _job_opened(self, r: Record) -> None:
        entry = self._entry(r)
        entry.job = True
        entry.state = Open(_at(r))
        entry.kept_as = None

    def _versioned(self, r: Record) -> None:
        if self.version != r["version"]:
            for entry in self.items.values():
                entry.steps = {}
        self.version = str(r["version"])

    def _answered(self, r: Record) -> None:
        self.answers[str(r["request"])] = r
        while len(self.answers) > ANSWERS_KEPT:
            del self.answers[next(iter(self.answers))]

    def _pause(self, r: Record) -> None:
        self.paused = r["kind"] == "paused"

    def _nothing(self, r: Record) -> None:
        pass

    def _forget_kept(self, entry: Entry) -> None:
        # Two links to one file, failed under two names, are the same file here.
        if self.kept.get(entry.identity) == entry.id:
            del self.kept[entry.identity]

    def _count(self, outcome: str, r: Record) -> None:
        if not r.get("retold"):
            self.counts[outcome] = self.counts.get(outcome, 0) + 1


def _fault(r: Record) -> Fault:
    error = r["error"]
    return Fault(error["kind"], error["text"])


def _at(r: Record) -> float:
    """Take the time of a record that was read, or of one that was just made."""
    at = r["at"]
    return at if isinstance(at, float) else instant(str(at))
