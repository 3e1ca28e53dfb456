"""Lead the open jobs: take their files in, give their parts out, and end them.

To the engine a job's file is an item that never runs itself: it stays live while the job is
open. Its parts run beside the items, through the same workers and under the same policy,
and their records go to the job's own journal. A job ends in this order: every part has
ended; the results are gathered; the reduce is claimed by a record, delivered, and confirmed
by a record; the main journal ends the job and its item; the file is put away.

No part runs twice at a time. Its attempt holds a shared lock on a folder that this daemon
made for the job. A later daemon makes another one, and gives nothing out before it had the
old one for itself alone, and removed it. So a part costs no file of its own, and a worker
that outlived its daemon can neither go on unseen nor begin anything.
"""

import fnmatch
from collections.abc import Callable

from resumed import jobbook, roll
from resumed.closing import Closing
from resumed.entry import Entry
from resumed.jobqueue import JobQueue
from resumed.jobyard import JobYard
from resumed.mark import Mark
from resumed.model import Open
from resumed.opening import RefusedError, open_job
from resumed.openjob import REDUCE, SEPARATOR, ChangedError, OpenJob
from resumed.piecework import THE_REDUCE, Hand, PieceWork
from resumed.recorder import Recorder
from resumed.records import Part, key
from resumed.runner import Runner
from resumed.schedule import Schedule
from resumed.settings import Config, JobSettings
from resumed.spool import Spool
from resumed.wire import Assignment, Work

SLICE_SECONDS = 0.004


class Foreman(PieceWork):
    """All jobs of one daemon. Times are monotonic seconds."""

    def __init__(  # noqa: PLR0913 - the parts that meet here
        self,
        config: Config,
        *,
        recorder: Recorder,
        schedule: Schedule,
        spool: Spool,
        runner: Runner,
        clock: Callable[[], float],
        tell: Callable[..., None],
        acknowledge: Callable[[int, str, str], None],
        generation: str,
        ctl: str,
    ) -> None:
        """Lead no job yet.

        *generation* names what this daemon makes, and no other daemon does; *ctl* is how
        `resumed-ctl` is called for this instance.
        """
        super().__init__(
            limits=runner.limits, schedule=schedule, clock=clock, tell=tell, acknowledge=acknowledge
        )
        self._recorder = recorder
        self._runner = runner
        self.yard = JobYard(config.paths, spool, generation)
        self._closing = Closing(
            recorder=recorder,
            schedule=schedule,
            runner=runner,
            yard=self.yard,
            dropped=self._dropped,
            ctl=ctl,
        )
        self.jobs: dict[str, OpenJob] = {}
        self.queue = JobQueue(self.yard, recorder.now)
        self._over: list[str] = []
        self.use(config)

    def use(self, config: Config) -> None:
        """Work by this configuration from now on."""
        self._closing.settings = config.job or JobSettings(match=())
        self._version = config.version
        self.fail_job_on = self._closing.settings.fail_job_on
        self.limits = self._runner.limits

    @property
    def id_field(self) -> str | None:
        """Name the field by which parts are known."""
        return self._closing.settings.id

    def note_version(self) -> None:
        """Let open jobs forget recorded steps of another version of the handler."""
        for job in self.jobs.values():
            if job.ledger.version != self._version:
                job.book.record("versioned", version=self._version)

    # what the runner asks

    @property
    def ready(self) -> int:
        """Count the parts that could be given out now."""
        return sum(job.roll.counts[roll.PENDING] for job in self.jobs.values() if job.ready)

    @property
    def surplus(self) -> int:
        """Count the jobs that wait to be opened and hold up the claiming of other files."""
        return self.queue.surplus

    @property
    def working(self) -> bool:
        """Tell whether there is something to do that does not only wait for its time."""
        return bool(self.queue) or any(
            job.slicing or job.ready or job.over or job.in_hand for job in self.jobs.values()
        )

    @property
    def waiting(self) -> int:
        """Count the parts that wait for another attempt."""
        return sum(job.roll.counts[roll.WAITING] for job in self.jobs.values())

    def leads(self, entry: Entry) -> bool:
        """Tell whether an item is a job, or will be one when it is taken in."""
        last = entry.name.rpartition("/")[2]
        matches = (fnmatch.fnmatchcase(last, each) for each in self._closing.settings.match)
        return entry.job or (not entry.attempts and any(matches))

    def take_in(self, entry: Entry) -> bool:
        """Take in an item that is a job; False for all others."""
        if not self.leads(entry):
            return False
        self.queue.add(entry)
        return True

    def take(self, count: int, now: float) -> list[Work]:
        """Give out up to *count* parts, of one job after the other."""
        if not self._schedule.open_to_others(now):
            return []
        for job_id, job in list(self.jobs.items()):
            if not job.ready:
                continue
            self.jobs[job_id] = self.jobs.pop(job_id)  # to the end of the line
            try:
                taken = job.take(count)
            except ChangedError:
                job.fail_changed()
                continue
            given = [self._given(job, number, part) for number, part in taken]
            self._schedule.begin(each.id for each in given)
            if given:
                return given
        return []

    def assignment(self, wire_id: str) -> Work | None:
        """Make ready what the schedule gives out: a reduce, or a part that is suspect."""
        job, number = self._locate(wire_id)
        try:
            if number == THE_REDUCE:
                return self._claim_reduce(job, wire_id)
            assignment = self._given(job, number, job.read(number))
        except ChangedError:
            job.fail_changed()
            self._schedule.finish(wire_id)
            return None
        job.book.record("started", **self._hands[wire_id].about())
        job.book.commit(urgent=True)
        return assignment

    # what the engine asks

    def trace(self, mark: Mark) -> None:
        """Take in that an attempt had begun of which the last daemon did not hear."""
        job_id, _, what = mark.id.partition(SEPARATOR)
        if what not in ("", REDUCE):  # an item that is over; what is claimed by a record before
            self.queue.trace(job_id, what, mark.attempt)

    def work(self, now: float) -> None:
        """Go on with all jobs, a little."""
        while entry := self.queue.take(self.jobs, now):
            self._open(entry)
        sliced = False
        for job in list(self.jobs.values()):
            job.wake(now)
            job.seek()
            if job.slicing and not sliced:
                sliced = True
                job.work(SLICE_SECONDS)
                self.tell_split(job)
                self.schedule_suspects(job, now)
            self._closing.advance(job, now)

    def commit(self) -> None:
        """Put what was recorded into the files, and on the disk where it is time.

        Raises:
            StorageError: The disk refused.
        """
        for job in self.jobs.values():
            for number, (part, attempt) in job.begun.items():
                known = key(job.roll.marks[number], job.roll.contents[number])
                job.book.record("started", part=part, key=known, attempt=attempt)
            job.begun.clear()
            job.book.commit()
            self._clean(job)
        if self._over:
            live = self._recorder.ledger.items
            for job_id in [each for each in self._over if each not in live]:
                self.yard.archive(job_id)
                self._over.remove(job_id)

    def due(self, now: float) -> float | None:
        """Say when `work` and `commit` have something to do again."""
        if not (self.jobs or self.queue):
            return None
        if any(job.busy for job in self.jobs.values()) or self.queue.next(self.jobs, now):
            return now
        times = [self.queue.due(now), *(job.due() for job in self.jobs.values())]
        times += [now + jobbook.SYNC_SECONDS for job in self.jobs.values() if job.book.dirty]
        return min((each for each in times if each is not None), default=None)

    def resume(self) -> None:
        """Record what was traced before new workers leave new marks; archive what is over."""
        live = self._recorder.ledger.items
        for job_id in self.yard.journals():
            if job_id not in live:
                self.yard.archive(job_id)
        self.queue.record_traces(live)

    def close(self) -> None:
        """Let go of all jobs; they go on with the next start."""
        self.commit()
        for job in self.jobs.values():
            job.close()
        self.queue.close()

    def abandon(self) -> None:
        """Let go of them without another word to the disk."""
        for job in self.jobs.values():
            job.lines.close()
            job.book.abandon()
        self.queue.abandon()

    def _open(self, entry: Entry) -> None:
        """Open a job; whatever hinders that is told with its file in ``failed/``."""
        try:
            job = open_job(
                entry,
                self.queue.hand_over(entry),
                self.yard,
                id_field=self.id_field,
                version=self._version,
                max_crashes=self.limits.max_crashes,
                tell=self._tell,
            )
        except RefusedError as error:
            self._runner.fail(entry, error.fault)
        else:
            self.jobs[entry.id] = job
            if not isinstance(entry.state, Open):
                self._recorder.record("job_opened", id=entry.id)
            self._tell("job_opened", id=entry.id, name=entry.name)

    def _given(self, job: OpenJob, number: int, part: Part) -> Work:
        attempt = job.roll.attempts[number] + 1
        piece = job.piece(number, part, attempt)
        self._hold(piece.id, Hand(job, number, part.id, piece.key, attempt))
        return piece

    def _claim_reduce(self, job: OpenJob, wire_id: str) -> Assignment:
        """Record, durably, that the reduce is about to be delivered."""
        job.expect_unchanged()  # it may have waited for long
        attempt = job.ledger.reduce.attempts + 1
        job.book.record("reduce_claimed", attempt=attempt, key=wire_id)
        job.book.commit(urgent=True)
        self._hold(wire_id, Hand(job, THE_REDUCE, "", wire_id, attempt))
        self._tell("reduce_claimed", id=job.entry.id, name=job.entry.name, attempt=attempt)
        return job.reduction(attempt)

    def _clean(self, job: OpenJob) -> None:
        """Remove the scratch folders of parts whose outcomes are on the disk."""
        if job.litter and not job.book.dirty:
            for wire_id in job.litter:
                job_id, _, name = wire_id.partition(SEPARATOR)
                self.yard.drop_scratch(job_id, name)
            job.litter.clear()

    def _dropped(self, job: OpenJob) -> None:
        del self.jobs[job.entry.id]
        self._over.append(job.entry.id)

    def _locate(self, wire_id: str) -> tuple[OpenJob, int]:
        job_id, _, what = wire_id.partition(SEPARATOR)
        job = self.jobs[job_id]
        number = THE_REDUCE if what == REDUCE else job.roll.find(int(what, 16))
        if number is None:
            raise KeyError(wire_id)
        return job, number

    def _mend(self, job: OpenJob) -> None:
        self.yard.lock(job.entry.id)
