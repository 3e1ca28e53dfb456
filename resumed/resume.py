"""Continue after a start with everything that has no outcome, and finish what a crash cut off.

In this order: attempts that were begun and not recorded are charged to their items, then
those that were recorded and not ended; files that no record knows are adopted; then every
item's file is brought to where its state says, and what is to run is queued.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resumed import durable
from resumed.claims import particulars
from resumed.entry import Entry
from resumed.model import Failed, Open, Pending, Running, Waiting
from resumed.pool import end_leftovers
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder
from resumed.runner import Runner
from resumed.spool import Spool


@dataclass(frozen=True, slots=True)
class Resumption:
    """The parts that a start brings into agreement."""

    recorder: Recorder
    spool: Spool
    runner: Runner
    reconciler: Reconciler
    marker_of: Callable[[str], str | None]
    mint: Callable[[], str]

    def run(self, marks: Path) -> None:
        """Bring ledger and folders into agreement; what was decided is durable on return."""
        if self.recorder.ledger.items:
            # A killed predecessor may have moved and recorded a file, and not synced it.
            durable.sync_filesystem(self.spool.fd("active"))
        self._charge_marks(marks)
        self._charge_running()
        origins = self.spool.origins()
        for folder, names in self.spool.active_entries():
            self._adopt(folder, names, origins)
        self.recorder.commit()
        for entry in list(self.recorder.ledger.items.values()):
            self._place(entry)
        self.runner.ended.clear()
        self.spool.sweep(self.recorder.ledger.items)
        self.recorder.commit()

    def _charge_marks(self, marks: Path) -> None:
        """Charge attempts of which the last daemon did not hear before it was killed."""
        for trace in end_leftovers(marks):
            if trace.id not in self.recorder.ledger.items:
                self.runner.jobs.trace(trace)
                continue
            entry = self.recorder.ledger.items[trace.id]
            if trace.attempt <= entry.attempts:
                continue
            if isinstance(entry.state, Pending | Waiting):
                self.recorder.record("started", id=entry.id, attempt=trace.attempt)

    def _charge_running(self) -> None:
        """Charge the attempts that the last program took down with it."""
        for entry in list(self.recorder.ledger.items.values()):
            if isinstance(entry.state, Running):
                self.runner.charge_crash(entry, entry.state.attempt)

    def _adopt(self, folder: str, names: list[str], origins: Mapping[int, str]) -> None:
        entry = self.recorder.ledger.items.get(folder)
        if entry is not None and isinstance(entry.state, Failed):
            names = self._called_back(entry, names)
        if entry is not None and self._is_of(entry, folder, names):
            if isinstance(entry.state, Failed) and entry.state.kept_as is not None:
                self.recorder.record("retried", id=entry.id, fresh=False)
            return
        markers = {self.marker_of(name) for name in names}
        for name in names:
            if name in markers:
                continue
            marker = self.marker_of(name)
            claimed = self.spool.adopt(
                folder, name, self.mint(), marker if marker in names else None, origins
            )
            if claimed is not None:
                self.recorder.record("claimed", **particulars(claimed))

    def _called_back(self, entry: Entry, names: list[str]) -> list[str]:
        """Finish the claim of a failed file that came back under another name; list the folder."""
        last = entry.name.rpartition("/")[2]
        for name in names:
            if last not in names and self.spool.identity(entry.id, name) == entry.identity:
                self.spool.call_back(entry.id, name, entry.name)
                return [last if each == name else each for each in names]
        return names

    def _is_of(self, entry: Entry, folder: str, names: list[str]) -> bool:
        """Tell whether the item's own file, or what it left, is what lies in its folder.

        A spare folder bears the id of an item that is over, or that failed, until a record
        says otherwise.
        """
        last = entry.name.rpartition("/")[2]
        if last not in names:
            return isinstance(entry.state, Pending | Waiting | Running | Open)
        found = self.spool.identity(folder, entry.name)
        return found is not None and found.inode == entry.identity.inode

    def _place(self, entry: Entry) -> None:
        match entry.state:
            case Pending() | Waiting() | Open():
                if self.reconciler.fetch(entry):
                    self.runner.take_in(entry)
            case _:
                self.reconciler.settle(entry)
