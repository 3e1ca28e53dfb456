"""Take items from their claim to their outcome: give them out, listen, record, go on.

What a worker says becomes a record here, and what a record calls for is done here or, when
it may only be done once the disk has it, handed to the recorder to be done then.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from resumed import text, verdict
from resumed.entry import Entry
from resumed.model import Done, Fact, Failed, Fault, Running, Waiting
from resumed.neighbours import Jobs, Workers
from resumed.pledges import Pledges
from resumed.recorder import Recorder
from resumed.report import (
    Absent,
    Began,
    Busy,
    Finished,
    GaveBack,
    Progressed,
    Report,
    StepTaken,
    WorkerDied,
)
from resumed.schedule import Schedule
from resumed.spool import Spool
from resumed.supply import Supply
from resumed.verdict import Died, End, Limits, Returned, Stopped
from resumed.wire import Assignment, Work

OUTPUT_LIMIT_BYTES = 4096
OVERDUE_SECONDS = 1.0


class Runner:
    """The way of the items through the workers; *jobs* has to be set before the first."""

    jobs: Jobs

    def __init__(  # noqa: PLR0913 - the parts that meet here
        self,
        *,
        recorder: Recorder,
        schedule: Schedule,
        spool: Spool,
        workers: Workers,
        active: Path,
        limits: Limits,
        clock: Callable[[], float],
        tell: Callable[..., None],
        pause: Callable[[str], None],
        sound: Callable[[], None],
        ahead: int,
    ) -> None:
        """*clock* is monotonic; *tell* writes an event.

        *pause* stops intake with a reason, *sound* says that an attempt went through.

        *ahead* is how many items a worker is sent before it needs them; below zero: as many
        as it ends in a few milliseconds.
        """
        self.limits = limits
        self.spread_overdue = False
        self.ended: list[Entry] = []
        self.alone: set[str] = set()  # of those that ended: who left nothing but the file
        self.missing: list[Entry] = []
        self.progress: dict[str, tuple[float, float | None]] = {}
        self._recorder = recorder
        self._schedule = schedule
        self._spool = spool
        self._workers = workers
        self._active = f"{active}/"
        self._clock = clock
        self._tell = tell
        self._pause = pause
        self._sound = sound
        self._pledges = Pledges(recorder)
        self.supply = Supply(ahead)
        self._parts_next = False
        self._untold: list[tuple[str, Fact]] = []
        self._listeners: dict[type, Callable[..., None]] = {
            Began: self._began,
            StepTaken: self._step_taken,
            Progressed: self._progressed,
            Finished: self._finished,
            GaveBack: self._gave_back,
            WorkerDied: self._worker_died,
        }

    def take_in(self, entry: Entry) -> None:
        """Put an item that is to run where its turn will come."""
        if self.jobs.take_in(entry):
            return
        now = self._clock()
        match entry.state:
            case Waiting(_, _, _, at, delay):
                # A clock that jumped must neither start a storm nor lose a retry.
                rest = min(at + delay - self._recorder.now(), delay)
                if rest < -OVERDUE_SECONDS and self.spread_overdue:
                    rest = self.limits.policy.spread_seconds()
                self._schedule.add_waiting(entry.id, entry.name, now + rest)
            case _ if entry.suspect:
                self._schedule.add_suspect(entry.id, entry.name, now)
            case _:
                self._schedule.add(entry.id, entry.name)

    def give_out(self) -> int:
        """Send items, and parts of jobs, to the workers that have room; return how many."""
        now, parts = self._clock(), self.jobs.ready
        if not (self._schedule.ready or parts or self._schedule.next_due(0.0)):
            return 0
        sent, rooms = 0, self._workers.room()
        share = -(-(self._schedule.ready + parts) // max(1, len(rooms)))
        for worker, room in rooms.items():
            count = self.supply.share(room, share)
            if count > 0 and (assignments := self._take(count, now)):
                self._workers.assign(worker, assignments)
                self.supply.sent(worker, len(assignments))
                sent += len(assignments)
        return sent

    def _take(self, count: int, now: float) -> list[Work]:
        """Choose items or parts, whose turn alternates so that neither starves the other."""
        self._parts_next = not self._parts_next
        if self._parts_next and (given := self.jobs.take(count, now)):
            return given
        ids = self._schedule.take(count, now)
        if not ids:
            return [] if self._parts_next else self.jobs.take(count, now)
        if self._schedule.is_alone(ids[0]):
            self._pledges.make(ids[0])
        return [each for each in map(self._assignment, ids) if each is not None]

    def tick(self, now: float) -> None:
        """Ask back what was sent to a worker that turned out to be busy for long."""
        due = self.supply.due()
        if due is not None and now >= due:
            self._workers.recall()
            self.supply.recalled()

    def hear(self, report: Report) -> None:
        """Record what a worker said, and what follows from it."""
        listener = self._listeners.get(type(report))
        if listener is not None:
            listener(report)

    def apply(self, fact: Fact) -> None:
        """Record what became of an item, and let the schedule know.

        Log lines wait until the record is durable.
        """
        entry = self._recorder.ledger.items[fact.particulars["id"]]
        if fact.kind == "failed":
            self._know_again(entry)
        self._recorder.record(fact.kind, **fact.particulars)
        self.progress.pop(entry.id, None)
        match fact.kind:
            case "done" | "failed":
                self._schedule.finish(entry.id)
                self.ended.append(entry)
            case "waiting" | "claimed":
                self._schedule.release(entry.id)
                self.take_in(entry)
            case _:
                self._schedule.give_back([entry.id])
        if not self._untold:
            self._recorder.then(self._log)
        self._untold.append((entry.name, fact))

    def charge_crash(self, entry: Entry, attempt: int) -> None:
        """Record one attempt as crashed, and fail its item when that was once too often."""
        self._recorder.record("crashed", id=entry.id, attempt=attempt)
        self._tell("crashed", id=entry.id, name=entry.name, attempt=attempt)
        final = verdict.crashed_for_good(entry, self.limits.max_crashes, self._recorder.now())
        if final is not None:
            self.apply(final)

    def fail(self, entry: Entry, fault: Fault) -> None:
        """Record a failure that no attempt had."""
        self.apply(verdict.failure(entry, fault, self._recorder.now()))

    def _know_again(self, entry: Entry) -> None:
        """Record what file it is that fails: a start may have to look for it in ``failed/``."""
        identity = self._spool.identity(entry.id, entry.name)
        if identity not in (None, entry.identity):
            self._recorder.record("claimed", **verdict.anew(entry, identity))

    def _assignment(self, item_id: str) -> Work | None:
        entry = self._recorder.ledger.items.get(item_id)
        if entry is None:
            return self.jobs.assignment(item_id)
        attempt = entry.attempts if isinstance(entry.state, Running) else entry.attempts + 1
        folder = self._active + item_id
        return Assignment(
            id=item_id,
            name=entry.name,
            path=f"{folder}/{entry.name.rpartition('/')[2]}",
            attempt=attempt,
            key=item_id,
            scratch=folder + ".work",
            lock=folder,
            steps=entry.steps,
        )

    def _began(self, report: Began) -> None:
        self.supply.began(report.worker, self._clock())
        entry = self._recorder.ledger.items.get(report.id)
        if entry is None:
            self.jobs.began(report)
            return
        if not isinstance(entry.state, Running):
            self._recorder.record_lazily("started", id=report.id, attempt=report.attempt)
        self._tell("started", id=report.id, name=entry.name, attempt=report.attempt)

    def _step_taken(self, report: StepTaken) -> None:
        if report.id not in self._recorder.ledger.items:
            self.jobs.step_taken(report)
            return
        self._recorder.record("stepped", id=report.id, step=report.step, result=report.result)
        acknowledge = partial(self._workers.acknowledge, report.worker, report.id, report.step)
        self._recorder.then(acknowledge)

    def _progressed(self, report: Progressed) -> None:
        self.progress[report.id] = (report.done, report.total)

    def _finished(self, report: Finished) -> None:
        self.supply.ended(report.worker)
        entry = self._recorder.ledger.items.get(report.id)
        if entry is None:
            self._ended_part(report)
            return
        if isinstance(report.end, Busy | Absent):
            self._pledges.take_back([entry.id])
            self._schedule.release(entry.id)
        match report.end:
            case Busy():
                due = self._clock() + verdict.BUSY_SECONDS
                self._schedule.add_waiting(entry.id, entry.name, due)
            case Absent():
                self.missing.append(entry)
            case end:
                if isinstance(end, Returned):
                    self.supply.learn(end.seconds)
                self._weigh(entry, end, report.output)
                if report.alone and isinstance(entry.state, Done | Failed):
                    self.alone.add(entry.id)

    def _ended_part(self, report: Finished) -> None:
        if isinstance(report.end, Returned):
            self.supply.learn(report.end.seconds)
        elif not isinstance(report.end, Busy | Absent):
            self._feel(report.end)
        self.jobs.finished(report.id, report.end, report.output, scratch=report.scratch)

    def _gave_back(self, report: GaveBack) -> None:
        self._pledges.take_back(report.ids)
        self._schedule.give_back(report.ids)
        self.jobs.gave_back(report.ids)

    def _worker_died(self, report: WorkerDied) -> None:
        self.supply.lost(report.worker)
        self._gave_back(GaveBack(report.worker, report.queued))
        if report.id is not None:
            end = Stopped() if report.interrupted else Died(report.how, report.step)
            entry = self._recorder.ledger.items.get(report.id)
            if entry is not None:
                self._weigh(entry, end, report.output)
            else:
                self._feel(end)
                self.jobs.finished(report.id, end, report.output, scratch=True)
        if not report.interrupted:
            self._tell("worker_died", worker=report.worker, how=report.how)

    def _weigh(self, entry: Entry, end: End, output: bytes) -> None:
        self._feel(end)
        fact = verdict.judge(
            entry,
            end,
            output=text.tail(output, OUTPUT_LIMIT_BYTES) if output else "",
            identity=self._spool.identity(entry.id, entry.name),
            policy=self.limits.policy,
            at=self._recorder.now(),
        )
        self.apply(fact)

    def _feel(self, end: End) -> None:
        """Learn from an attempt's end whether the surroundings are as they must be."""
        broken = verdict.surroundings(end, self.limits.policy)
        if broken is not None:
            self._pause(broken)
        elif not isinstance(end, Stopped):
            self._sound()

    def _log(self) -> None:
        untold, self._untold = self._untold, []
        for name, fact in untold:
            self._tell(fact.kind, **{**fact.particulars, "name": name})
