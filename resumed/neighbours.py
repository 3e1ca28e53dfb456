"""Say what the runner asks of its neighbours: the workers, and who leads the parts of jobs."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from resumed import report
from resumed.entry import Entry
from resumed.mark import Mark
from resumed.report import Began, StepTaken
from resumed.verdict import Died
from resumed.wire import Work


class Workers(Protocol):
    """What of `resumed.pool.Pool` is asked here."""

    def room(self) -> Mapping[int, int]:
        """Say how many more items each worker that serves may be sent, idle ones first."""
        ...

    def assign(self, worker: int, assignments: list[Work]) -> None:
        """Send items to a worker."""
        ...

    def acknowledge(self, worker: int, id_: str, step: str) -> None:
        """Tell a worker that its step is durable."""
        ...

    def recall(self) -> None:
        """Ask back what was not begun."""
        ...


class Jobs(Protocol):
    """What of `resumed.foreman.Foreman` is asked here: it leads the parts of jobs."""

    @property
    def ready(self) -> int:
        """Count the parts that could be given out now."""
        ...

    def take_in(self, entry: Entry) -> bool:
        """Take in an item that is a job; False for all others."""
        ...

    def trace(self, mark: Mark) -> None:
        """Take in that an attempt had begun of which the last daemon did not hear."""
        ...

    def take(self, count: int, now: float) -> list[Work]:
        """Give out up to so many parts."""
        ...

    def assignment(self, wire_id: str) -> Work | None:
        """Make ready what the schedule gives out and is no item."""
        ...

    def began(self, report: Began) -> None:
        """Note that an attempt was begun."""
        ...

    def step_taken(self, report: StepTaken) -> None:
        """Record a step."""
        ...

    def finished(
        self, wire_id: str, end: report.End | Died, output: bytes, *, scratch: bool
    ) -> None:
        """Record how an attempt ended."""
        ...

    def gave_back(self, wire_ids: Iterable[str]) -> None:
        """Take back what was not begun."""
        ...
