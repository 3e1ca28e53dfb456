"""Name what a backend refuses.

The names of `watchbot_progress` are kept where it has one. Whoever raises one of these has
changed nothing.
"""

from dataclasses import dataclass

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
    """Refuse to change a job whose reduce was confirmed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r}: its reduce is done; delete the job to run it again")


class PartLeased(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Refuse a part that somebody else works on; it may be asked for again later."""

    def __init__(self, job_id: str, part_id: str, until_at: float) -> None:
        super().__init__(
            f"job {job_id!r}: part {part_id!r} is leased until {until_at:.3f}; try again then"
        )
        self.until_at = until_at


class LeaseLost(ProgressError, RuntimeError):  # noqa: N818 - sibling of the above
    """Say that another attempt has the part by now, or that it ended."""

    def __init__(self, job_id: str, part_id: str, attempt: int) -> None:
        super().__init__(
            f"job {job_id!r}: attempt {attempt} of part {part_id!r} lost its lease; stop it"
        )


class ProgressTypeError(ProgressError, TypeError):
    """Refuse an argument that is not what it must be: a backend, an id, or JSON."""
