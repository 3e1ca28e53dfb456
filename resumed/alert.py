"""Call a person when something is theirs to do: by events, and by the commands they chose."""

from collections.abc import Callable, Iterable
from pathlib import Path

from resumed.alarms import Alarms
from resumed.entry import Entry
from resumed.hooks import Hooks
from resumed.ledger import Ledger
from resumed.model import Failed
from resumed.settings import Config


class Alert:
    """What is told beyond the log. Times are monotonic seconds, unless *wall* gives them."""

    def __init__(
        self, config: Config, tell: Callable[..., None], wall: Callable[[], float]
    ) -> None:
        self.config = config
        self.hooks = Hooks(tell)
        self._tell = tell
        self._wall = wall
        self._alarms = Alarms(wall())

    def arrived(self) -> None:
        """Note that something came."""
        self._alarms.arrived(self._wall())

    def ended(self, entries: Iterable[Entry]) -> None:
        """Call for those that failed; their failure is durable, and the file is in its place."""
        for entry in entries:
            if isinstance(entry.state, Failed):
                self._alarms.failed(entry.state.at)
                if self.config.on_failure is not None:
                    about = _about(entry, entry.state, self.config.paths.failed)
                    self.hooks.call("on_failure", self.config.on_failure, about)

    def look(self, ledger: Ledger) -> None:
        """Call for what is not as it is expected to be, once for each time that it begins."""
        for why in self._alarms.turn(self.config.expect, ledger, self._wall()):
            self._tell("alarm", why=why)
            if self.config.on_alarm is not None:
                self.hooks.call("on_alarm", self.config.on_alarm, {"why": why})


def _about(entry: Entry, failed: Failed, folder: Path) -> dict[str, str]:
    """Say what a command is told of a failure."""
    return {
        "id": entry.id,
        "name": entry.name,
        "path": str(folder / entry.kept_as) if entry.kept_as else "",
        "step": failed.step or "",
        "attempt": str(failed.attempt),
        "error": f"{failed.fault.kind}: {failed.fault.text}",
    }
