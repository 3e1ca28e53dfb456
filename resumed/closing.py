"""Bring jobs to their ends: reduced and put away, or closed into ``failed/``.

In this order, so that the death of the program at any moment leaves one reduce recorded
done: every part has ended; the results are gathered, durably; the reduce is claimed by a
record, delivered, and confirmed by a record; its results appear in ``done/``; the main
journal ends the job and its item; the file is put away; the job's journal is archived.
"""

from collections.abc import Callable

from resumed import roll
from resumed.jobyard import JobYard
from resumed.model import Fact, Fault
from resumed.openjob import REDUCE, SEPARATOR, OpenJob, summary
from resumed.recorder import Recorder
from resumed.runner import Runner
from resumed.schedule import Schedule
from resumed.settings import JobSettings


class Closing:
    """What becomes of jobs whose parts have ended. *dropped* is told of each that is over."""

    def __init__(  # noqa: PLR0913 - the parts that meet here
        self,
        *,
        recorder: Recorder,
        schedule: Schedule,
        runner: Runner,
        yard: JobYard,
        dropped: Callable[[OpenJob], None],
        ctl: str,
    ) -> None:
        """*ctl* is how `resumed-ctl` is called for this instance, for advice."""
        self.settings = JobSettings(match=())
        self._recorder = recorder
        self._schedule = schedule
        self._runner = runner
        self._yard = yard
        self._dropped = dropped
        self._ctl = ctl

    def advance(self, job: OpenJob, now: float) -> None:
        """Take the next step towards a job's end, if its time has come."""
        reduce, settings = job.ledger.reduce, self.settings
        if job.ledger.fault is not None:
            self._skip_rest(job)
        elif not job.over or job.reducing or job.slicing:
            return
        elif not settings.tolerate.allows(job.failed, len(job.roll)):
            self._close(job, self._too_many_failed(job))
        elif reduce.state == "failed":
            error = reduce.error or {"kind": "unknown", "text": ""}
            self._close(job, Fault(error["kind"], f"in the reduce: {error['text']}"))
        elif reduce.state == "done":
            self._finish(job)
        elif job.changed:  # what was added in the meantime must not be lost unseen
            job.fail_changed()
            self._skip_rest(job)
        elif not job.gathered and (settings.reduce or settings.results):
            job.gather()
        elif settings.reduce is None:
            job.book.record("reduced", attempt=0, key="", seconds=0.0, result=None)
        else:
            self._schedule_reduce(job, now)

    def _schedule_reduce(self, job: OpenJob, now: float) -> None:
        job.reducing = True
        wire_id = f"{job.entry.id}{SEPARATOR}{REDUCE}"
        tries = job.ledger.reduce.tries
        if job.ledger.reduce.state == "waiting":
            rest = tries.failed_at + tries.delay_seconds - self._recorder.now()
            due = now + min(max(rest, 0.0), tries.delay_seconds)
            self._schedule.add_waiting(wire_id, wire_id, due)
        elif tries.crashes:
            self._schedule.add_suspect(wire_id, wire_id, now)
        else:
            self._schedule.add(wire_id, wire_id)

    def _skip_rest(self, job: OpenJob) -> None:
        """Close a job that was given up, as soon as nothing of it runs."""
        if job.in_hand:
            return
        for number in job.roll.of_state(roll.GIVEN):  # suspects, which nobody was given
            self._schedule.finish(f"{job.entry.id}{SEPARATOR}{job.roll.marks[number]:016x}")
        if job.reducing:
            self._schedule.finish(f"{job.entry.id}{SEPARATOR}{REDUCE}")
        fault = job.ledger.fault or {}
        error, part = fault["error"], fault["part"]
        where = "" if part is None else f"part {part}, attempt {fault['attempt']}: "
        self._close(job, Fault(error["kind"], where + error["text"]))

    def _too_many_failed(self, job: OpenJob) -> Fault:
        name = job.entry.id
        lines = (
            f"{job.failed} of {len(job.roll)} parts failed",
            "which, and why, tells",
            f"    {self._ctl} jobs failures {name}",
            "with some records mended, only what failed or is new runs after",
            f"    {self._ctl} retry {name} --with FILE",
        )
        return Fault("parts", "\n".join(lines))

    def _finish(self, job: OpenJob) -> None:
        """End a job whose reduce is recorded done."""
        job.book.commit(urgent=True)
        if self.settings.results:
            self._yard.shelve(job.entry)
        reduce = job.ledger.reduce
        at = self._recorder.now()
        self._recorder.record("job_ended", id=job.entry.id, **summary(job))
        done = {"attempt": reduce.attempts, "result": reduce.result}
        seconds = round(max(0.0, at - job.entry.claimed_at), 3)
        self._drop(job)
        self._runner.apply(Fact("done", at, {"id": job.entry.id, **done, "seconds": seconds}))

    def _close(self, job: OpenJob, fault: Fault) -> None:
        job.book.record("closed", error={"kind": fault.kind, "text": fault.text})
        self._drop(job)
        self._runner.fail(job.entry, fault)

    def _drop(self, job: OpenJob) -> None:
        job.close()
        self._dropped(job)
