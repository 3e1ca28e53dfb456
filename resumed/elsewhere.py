"""See jobs whose progress is kept in Redis or DynamoDB as `resumed.jobview` shows the daemon's.

The same words and the same JSON, with what such a backend does not know left null: a job
has no name but its id, and parts that wait for another attempt are pending.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from resumed.model import Record, timestamp
from resumed.progress import base
from resumed.progress.errors import JobDoesNotExist, JobFault
from resumed.progress.places import open_progress, shown
from resumed.progress.states import Ended, Job, Open, PartState, ReduceClaimed
from resumed.view import RefusedError

_LIBRARIES = ("redis", "botocore", "boto3")


@dataclass(frozen=True, slots=True)
class ElsewhereJob:
    """One job as it was when it was asked for."""

    progress: base.Progress
    job: Job

    @property
    def id(self) -> str:
        """Name it."""
        return self.job.id

    @property
    def name(self) -> str:
        """Name it where the daemon's jobs have the name of their file."""
        return self.job.id

    @property
    def state(self) -> str:
        """Say in one word how it is."""
        match self.job.state:
            case Ended():
                return "done"
            case JobFault():
                return "failed"
            case Open():
                # Nothing is left to do, and nothing is tolerated: a retry has to be asked for.
                return "open" if self.job.pending or self.job.running else "failed"
            case _:
                return "reduce"

    def document(self, now: float) -> Record:
        """Describe it; see `resumed.jobview`."""
        job, state = self.job, self.job.state
        seconds = (job.changed_at if self.state != "open" else now) - job.created_at
        rate = round(job.done / seconds, 1) if job.done and seconds > 0 else None
        left = round(job.pending / rate, 1) if rate and self.state == "open" else None
        reduce = {Ended: "done", ReduceClaimed: "claimed"}.get(type(state), "none")
        error = _error(state) if isinstance(state, JobFault) else None
        return {
            "id": job.id,
            "name": job.id,
            "state": self.state,
            "opened_at": timestamp(job.created_at),
            "parts": job.total,
            "done": job.done,
            "failed": job.failed,
            "running": job.running,
            "waiting": 0,
            "pending": job.pending,
            "rate": rate if self.state == "open" else None,
            "seconds_left": left,
            "reduce": {"state": reduce, "attempts": None, "error": None, "result": None},
            "error": error,
        }

    def failures(self) -> Iterator[Record]:
        """Yield the last failure of each part that failed."""
        for part in _paged(partial(self.progress.failures, self.job.id)):
            fault = part.fault
            error = {"kind": fault.kind, "text": fault.text} if fault else {"kind": "", "text": ""}
            yield {"part": part.id, "attempt": part.attempts, "error": error, "state": "failed"}

    def pending(self) -> Iterator[str]:
        """Yield the ids of the parts that wait for somebody."""
        for part in _paged(partial(self.progress.pending, self.job.id)):
            yield part.id


class Elsewhere:
    """The jobs of one backend."""

    def __init__(self, progress: base.Progress) -> None:
        self._progress = progress

    def caution(self) -> str | None:
        """Say what a crash of the server may lose, None when nothing."""
        return self._progress.caution()

    def jobs(self, *, over: bool) -> Iterator[ElsewhereJob]:
        """Yield the jobs, by id; those that are over when *over* says so."""
        after = ""
        while found := self._progress.jobs(after=after):
            for job in found:
                if over or not isinstance(job.state, Ended):
                    yield ElsewhereJob(self._progress, job)
            after = found[-1].id

    def find(self, job_id: str) -> ElsewhereJob:
        """Look one job up; raises `RefusedError`."""
        try:
            return ElsewhereJob(self._progress, self._progress.job(job_id))
        except JobDoesNotExist as error:
            raise RefusedError(f"{error}; 'jobs ls --all' lists them") from None


@contextmanager
def opened(url: str) -> Iterator[Elsewhere]:
    """Open what a URL names, as `resumed.progress.places` says.

    Raises:
        UsageError: It names no backend.
        RefusedError: A library is missing, or the server does not answer as it should.
    """
    try:
        with closing(open_progress(url)) as progress:
            yield Elsewhere(progress)
    except ImportError as error:
        kind = url.partition(":")[0].replace("rediss", "redis")
        raise RefusedError(f"{shown(url)}: {error}; pip install 'resumed[{kind}]'") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise RefusedError(f"{shown(url)}: {error}") from error


def _error(fault: JobFault) -> Record:
    """Say which part a job was given up for, as the daemon does."""
    where = "" if fault.part is None else f"part {fault.part}, attempt {fault.attempt}: "
    return {"kind": fault.kind, "text": where + fault.text}


def _paged(page: Any) -> Iterator[PartState]:  # noqa: ANN401 - a bound method with keywords
    after = -1
    while found := page(after=after):
        yield from found
        after = found[-1].number
