"""Name what a backend refuses.

The names of `watchbot_progress` are kept where it has one. Whoever raises one of these has
changed nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resumed.errors import EXIT_SOME_FAILED, EXIT_USAGE, ResumedError


@dataclass(frozen=True, slots=True)
class JobFault:
    """Say why a whole job was given up, and which attempt of which part said so."""

    kind: str
    text: str
    part: str | None
    attempt: int
    at: float

    def __str__(self) -> str:
        """Write the reason on one line."""
        where = f" in part {self.part!r}, attempt {self.attempt}" if self.part is not None else ""
        return f"{self.kind}: {self.text}{where}"


class ProgressError(ResumedError):
    """Stand for what a backend refuses; nothing was changed."""

    exit_status = EXIT_USAGE


class JobDoesNotExist(ProgressError, RuntimeError):  # noqa: N818 - the name users know
    """Say that no job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r}: does not exist; 'resumed-ctl jobs ls' lists the jobs")


class PartDoesNotExist(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Say that the job has no part with this id."""

    def __init__(self, job_id: str, part_id: str) -> None:
        super().__init__(f"job {job_id!r}: has no part {part_id!r}; check the id")


class JobFailed(ProgressError, RuntimeError):  # noqa: N818 - the name users know
    """Refuse work for a job that was given up, with the reason."""

    exit_status = EXIT_SOME_FAILED

    def __init__(self, job_id: str, fault: JobFault) -> None:
        super().__init__(f"job {job_id!r}: failed: {fault}; retry the job to go on")
        self.fault = fault


class JobExists(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Refuse to use the id of a job again while that job is kept."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r}: exists already; choose another id or delete it")


class JobEnded(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Refuse to change a job whose reduce is claimed or confirmed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r}: its reduce is done or on its way; delete it to run anew")


class PartLeased(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Refuse a part that somebody else works on; it may be asked for again later."""

    def __init__(self, job_id: str, part_id: str, until_at: float) -> None:
        super().__init__(
            f"job {job_id!r}: part {part_id!r} is leased until {until_at:.3f}; try again then"
        )
        self.until_at = until_at


class PartGivenUp(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Refuse an attempt of a part that failed for good."""

    exit_status = EXIT_SOME_FAILED

    def __init__(self, job_id: str, part_id: str) -> None:
        super().__init__(f"job {job_id!r}: part {part_id!r} failed for good; retry the job")


class LeaseLost(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Say that another attempt has the part by now, or that it ended."""

    def __init__(self, job_id: str, part_id: str) -> None:
        super().__init__(f"job {job_id!r}: part {part_id!r}: the lease is lost; stop this attempt")


class ProgressTypeError(ProgressError, TypeError):
    """Refuse an argument that is not what it must be: a backend, an id, or JSON."""


def refuse(answer: Sequence[Any], job_id: str, part_id: str) -> None:
    """Raise the error that a backend's answer names; return for any other answer."""
    match answer[0]:
        case "JobDoesNotExist":
            raise JobDoesNotExist(job_id)
        case "JobEnded":
            raise JobEnded(job_id)
        case "JobFailed":
            raise JobFailed(job_id, JobFault(*json.loads(answer[1])))
        case "PartDoesNotExist":
            raise PartDoesNotExist(job_id, part_id)
        case "PartGivenUp":
            raise PartGivenUp(job_id, part_id)
        case "PartLeased":
            raise PartLeased(job_id, part_id, float(answer[1]))
        case "LeaseLost":
            raise LeaseLost(job_id, part_id)
        case _:
            return
