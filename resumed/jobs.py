"""Split work into the parts of a job, do them anywhere, and reduce once at the end.

    jobid = create_job([{"src": "a.tif"}, {"src": "b.tif"}], progress=RedisProgress())

tells the workers, and each of them runs

    with Part(**message, progress=RedisProgress()) as part:
        part.result = work(message["src"])

The worker that completes the last part sends the reduce. Names and arguments are those of
`watchbot_progress`; what is different on purpose is in packaging/MIGRATION-watchbot.md.
"""

import copy
import functools
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from resumed.model import JSON, Fault
from resumed.progress import base
from resumed.progress.errors import (
    JobDoesNotExist,
    JobEnded,
    JobExists,
    JobFailed,
    JobFault,
    LeaseLost,
    PartDoesNotExist,
    PartGivenUp,
    PartLeased,
    ProgressError,
    ProgressTypeError,
)
from resumed.progress.handoff import (
    Folder,
    HandOff,
    HandOffError,
    OnReduce,
    Sns,
    deliver,
    message,
    send_all,
)
from resumed.progress.parts import Parts, check_id, decode
from resumed.progress.states import AlreadyDone, Answer, LastPart, Lease

if TYPE_CHECKING:
    from resumed.progress.dynamodb import DynamoProgress
    from resumed.progress.embedded import EmbeddedProgress
    from resumed.progress.redis import RedisProgress

__all__ = [
    "DynamoProgress",
    "EmbeddedProgress",
    "Folder",
    "HandOffError",
    "JobDoesNotExist",
    "JobEnded",
    "JobExists",
    "JobFailed",
    "LeaseLost",
    "Part",
    "PartDoesNotExist",
    "PartGivenUp",
    "PartLeased",
    "ProgressError",
    "ProgressTypeError",
    "RedisProgress",
    "Sns",
    "create_job",
    "resend",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_REASON = 2000
_ATTEMPTS_TO_EXTEND = 3


def create_job(  # noqa: PLR0913 - the arguments of watchbot_progress, and ours by name
    parts: Iterable[Mapping[str, object]],
    jobid: str | int | None = None,
    workers: int = 25,
    progress: base.Progress | None = None,
    metadata: Mapping[str, JSON] | None = None,
    *,
    send: HandOff | None = None,
    on_reduce: OnReduce | None = None,
    id_field: str | None = None,
    tolerate: int = 0,
) -> str:
    """Create a job whole, then hand its parts to the workers; return its id.

    Each message is the part with ``partid``, ``jobid`` and ``metadata`` put in. Parts are
    numbered, or named by their *id_field*; any iterable will do. A job without parts is
    reduced at once. *workers* threads send at a time. Without *send*, messages are published
    to the topic of *progress*. A `Folder`, without *progress*, gets the whole job as one file
    for the daemon, which keeps its progress, reduces, and knows what is tolerated.

    Raises:
        ProgressTypeError: A part is no JSON object, or an argument is wrong; nothing is stored.
        JobExists: The id is in use; nothing is changed.
        Exception: Whatever *send* raises. The job is there then: `resend` goes on with it.
    """
    job_id = check_id(uuid4().hex if jobid is None else jobid, "job")
    if progress is None and isinstance(send, Folder):
        if on_reduce is not None or tolerate:
            raise ProgressTypeError("on_reduce, tolerate: here the daemon's [job] says both")
        with Parts(parts, id_field=id_field) as encoded:
            send.submit(job_id, encoded, metadata)
        return job_id
    progress = _checked(progress)
    send = Sns(progress.topic) if send is None else send
    with Parts(parts, id_field=id_field) as encoded:
        job = progress.create(job_id, encoded, metadata=metadata, tolerate=tolerate)
        try:
            told = (message(job, each.number, each.id, decode(each.text)) for each in encoded)
            send_all(send, told, workers)
            if not job.total and (reduce := progress.claim_reduce(job_id)):
                deliver(progress, reduce, send, on_reduce)
        except Exception as error:
            error.add_note(f"job {job_id!r} was created: send its messages with resend()")
            raise
    return job_id


def resend(
    jobid: str | int,
    progress: base.Progress | None = None,
    *,
    send: HandOff | None = None,
    on_reduce: OnReduce | None = None,
) -> int:
    """Send the parts again that wait for somebody, and the reduce if it is due; count them.

    For a job whose creation died while sending, and for parts whose messages were lost.
    """
    progress = _checked(progress)
    send = Sns(progress.topic) if send is None else send
    job = progress.job(str(jobid))
    count, last = 0, -1
    while waiting := progress.pending(job.id, after=last):
        send_all(send, (message(job, each.number, each.id, each.payload) for each in waiting), 1)
        count, last = count + len(waiting), waiting[-1].number
    if reduce := progress.claim_reduce(job.id):
        deliver(progress, reduce, send, on_reduce)
        count += 1
    return count


class Part:
    """Work on one part: a context manager, and a decorator for a function that does the work.

    Leaving it completes the part with its *result*, and sends the reduce after the last one.
    An exception gives the part back with its reason, for good after *max_attempts*, and goes
    on; one of *fail_job_on* gives the whole job up. Meanwhile the part is kept from others,
    and comes back *seconds* after this process died. Unknown keywords are ignored, so that
    a message can be passed as it is.

    The decorator skips a part that is done; in a ``with`` ask `done`, or do it again: what
    is recorded stays. `lost` says why to stop: another has the part, or the job was given up.

    Raises on entering:
        JobFailed: The job was given up.
        PartGivenUp: The part failed for good.
        PartLeased: Somebody else works on it.
    """

    def __init__(  # noqa: PLR0913 - the arguments of watchbot_progress, and ours by name
        self,
        jobid: str | int,
        partid: str | int,
        progress: base.Progress | None = None,
        fail_job_on: type[Exception] | tuple[type[Exception], ...] = (),
        on_reduce: OnReduce | None = None,
        *,
        send: HandOff | None = None,
        seconds: float = base.LEASE_SECONDS,
        max_attempts: int | None = None,
        **_message: object,
    ) -> None:
        self.jobid, self.partid = str(jobid), str(partid)
        self.progress = _checked(progress)
        self.result: JSON = None
        self.lost: ProgressError | None = None
        self.done = False
        self._fail_job_on = fail_job_on
        self._on_reduce = on_reduce
        if send is None and on_reduce is None:
            send = Sns(self.progress.topic)
        self._send = send
        self._seconds = seconds
        self._max_attempts = max_attempts
        self._lease: Lease | None = None
        self._ending = threading.Event()
        self._heart: threading.Thread | None = None

    @property
    def payload(self) -> JSON:
        """The part as it was given, None when it is done."""
        return self._lease.payload if self._lease else None

    @property
    def attempt(self) -> int:
        """The number of this attempt, 0 when the part is done."""
        return self._lease.attempt if self._lease else 0

    def __call__(self, function: _Function) -> _Function:
        """Let *function* do the work of this part when it is called."""

        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the function has it
            with copy.copy(self) as part:
                return None if part.done else function(*arguments, **keywords)

        return run  # type: ignore[return-value] # wraps keeps its signature

    def __enter__(self) -> Self:
        lease = self.progress.begin(self.jobid, self.partid, seconds=self._seconds)
        self.done = isinstance(lease, AlreadyDone)
        if isinstance(lease, Lease):
            self._lease = lease
            self._refuse_too_many(lease)
            self._ending = threading.Event()
            self._heart = threading.Thread(target=self._beat, args=(lease,), daemon=True)
            self._heart.start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._ending.set()
        if self._heart:
            self._heart.join()
        if error is None:
            self._answer(
                self.progress.complete(self.jobid, self.partid, self.result, seconds=self._seconds)
            )
        elif self._lease:
            self._fail(self._lease, error)

    def _refuse_too_many(self, lease: Lease) -> None:
        """Give a part up whose workers died once too often."""
        if self._max_attempts is not None and lease.attempt > self._max_attempts:
            died = Fault("crashed", f"{lease.attempt - 1} attempts did not end")
            self._answer(self.progress.give_up(lease, died, seconds=self._seconds))
            raise PartGivenUp(self.jobid, self.partid)

    def _beat(self, lease: Lease) -> None:
        """Extend the lease until the work ends, or somebody says that it is in vain."""
        while not self._ending.wait(self._seconds / _ATTEMPTS_TO_EXTEND):
            try:
                self.progress.extend(lease, seconds=self._seconds)
            except ProgressError as error:
                self.lost = error
                return
            except Exception:  # noqa: BLE001, S112 - a network's pause; the lease outlasts two
                continue

    def _fail(self, lease: Lease, error: BaseException) -> None:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        fault = Fault(kind, str(error)[:_REASON])
        with suppress(LeaseLost):
            if isinstance(error, self._fail_job_on):
                self._fail_job(lease, fault)
            if isinstance(error, Exception) and lease.attempt == self._max_attempts:
                self._answer(self.progress.give_up(lease, fault, seconds=self._seconds))
            else:
                self.progress.fail(lease, fault)

    def _fail_job(self, lease: Lease, fault: Fault) -> None:
        now = self.progress.clock()
        reason = JobFault(fault.kind, fault.text, self.partid, lease.attempt, now)
        with suppress(JobEnded):
            self.progress.fail_job(self.jobid, reason)

    def _answer(self, answer: Answer) -> None:
        if isinstance(answer, LastPart):
            deliver(self.progress, answer.reduce, self._send, self._on_reduce)


def _checked(progress: object) -> base.Progress:
    if progress is None:
        from resumed.progress.embedded import EmbeddedProgress  # noqa: PLC0415 - the default

        return EmbeddedProgress()
    if not isinstance(progress, base.Progress):
        raise ProgressTypeError(f"{progress!r} is no backend: give a Progress, such as Redis")
    return progress


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute is of any type
    """Load a backend, and the library that it needs, when it is asked for."""
    homes = {"RedisProgress": "redis", "DynamoProgress": "dynamodb", "EmbeddedProgress": "embedded"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"resumed.progress.{homes[name]}"), name)
