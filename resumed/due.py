"""Say when which of the daemon's own duties is next, on the monotonic clock."""

from dataclasses import dataclass


@dataclass(slots=True)
class Due:
    """The times of the duties; None for what nobody waits for now."""

    ping: float
    rescan: float
    status: float | None = None
    extend: float | None = None
    interrupt: float | None = None

    def first(self, other: float | None) -> float:
        """Return the first of all these times, or *other* when that comes before."""
        times = (other, self.ping, self.rescan, self.status, self.extend, self.interrupt)
        return min(each for each in times if each is not None)
