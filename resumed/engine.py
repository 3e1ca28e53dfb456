"""Do a turn's work, in the order that keeps the promises.

`Engine` knows nothing of signals, systemd or terminals: it is driven by `resumed.daemon`,
for a service and for a drain alike.
"""

from collections.abc import Callable

from resumed.assembly import Assembly
from resumed.entry import Entry
from resumed.parts import Clocks
from resumed.report import Loaded, LoadFailed, Report, StepTaken, WorkerDied
from resumed.settings import Config

PUT_AWAY_BATCH = 256
PUT_AWAY_SECONDS = 0.05
PUT_AWAY_MOST_SECONDS = 1.0


class Engine(Assembly):
    """One instance at work, except for the loop that turns it."""

    def __init__(self, config: Config, tell: Callable[..., None], clocks: Clocks) -> None:
        """Open everything; the locks must be held by the caller.

        Raises:
            ResumedError: Something is not as it must be.
        """
        super().__init__(config, tell, clocks)
        self.draining = False
        self.claiming = True
        self._put_away_at: float | None = None
        self._put_away_seconds = PUT_AWAY_SECONDS

    def drain(self) -> None:
        """Claim and begin nothing more; what runs goes on to its end."""
        self.draining = True
        self.pool.stop()

    def take_up(self, entry: Entry) -> None:
        """Let a failed item run again."""
        self.recorder.record("retried", id=entry.id, fresh=False)
        self.recorder.commit()
        if self.reconciler.fetch(entry):
            self.runner.take_in(entry)

    def hear(self, fd: int, events: int) -> None:
        """Take in what a worker's descriptor has to tell."""
        self._hear(self.pool.ready(fd, events))

    def turn(self) -> None:
        """Do what is due, in the order that keeps the promises; return when nothing is left.

        Raises:
            StorageError: The disk refused; nothing of it was told.
        """
        now = self._clocks.monotonic()
        self._hear(self.pool.tick(now))
        self.alert.hooks.turn(now)
        pausing = self.draining or self.space.look(now) or self.paused
        synced = self.recorder.commit()
        self.foreman.commit()
        # What was claimed before goes out first: the workers go on while files are moved.
        self._give_out()
        if self.claiming and not pausing:
            self._claim(now)
        if not self.draining:
            self.foreman.work(now)
        synced |= self.recorder.commit()
        self.foreman.commit()
        self._put_away(now, synced=synced)
        self._give_out()
        self.runner.tick(now)
        self.recorder.commit()
        self.upkeep.turn(now, synced=synced)
        self.runner.supply.note_turn(self._clocks.monotonic() - now)

    @property
    def paused(self) -> bool:
        """Tell whether a person paused the intake."""
        return self.recorder.ledger.paused

    def due(self, now: float) -> float | None:
        """Say when `turn` has something to do again without being woken."""
        times = [self.alert.hooks.due(), self.pool.due(), self.runner.supply.due()]
        times += [self._put_away_at, self.upkeep.due]
        if not self.draining:
            times += [self.schedule.next_due(now), self.space.due(), self.foreman.due(now)]
            if (
                self.claiming
                and not (self.paused or self.space.on)
                and self.claims.room(self._ready, now)
            ):
                times.append(self.intake.next_due(now))
        return min((each for each in times if each is not None), default=None)

    @property
    def _ready(self) -> int:
        """Count what was claimed, waits for its turn and keeps further files in the inbox."""
        return self.schedule.ready + self.foreman.surplus

    def rescan(self) -> None:
        """Look whether what we keep is still where we put it, and at the whole inbox again.

        A file that is missing may be on its way back through the inbox. So nothing is missed
        before the scan is over that was wanted at the last look.
        """
        if not (self.intake.scanning or self.paused or self.space.on):
            self.upkeep.miss(self.intake.inodes())
        self.intake.scan()

    def quiet(self) -> bool:
        """Tell whether nothing runs and nothing is on its way to a folder."""
        return self.pool.idle() and not self.runner.ended and not self.schedule.running

    def close(self) -> None:
        """End the workers, record what that interrupts, and let go of everything."""
        self._hear(self.pool.close())
        self.recorder.commit()
        self.foreman.close()
        self._put_away(self._clocks.monotonic(), synced=True)
        self.recorder.commit()
        self.upkeep.end()
        self.recorder.close()
        self._stack.close()

    def abandon(self) -> None:
        """Let go of everything without another word to the disk, which has refused one."""
        self.pool.close()
        self.foreman.abandon()
        self._stack.close()

    def _hear(self, reports: list[Report]) -> None:
        for report in reports:
            match report:
                case Loaded() | LoadFailed():
                    self.note_loading(report)
                case StepTaken(worker, id_, step) if self.is_outdated(worker):
                    # Its own attempt goes on with it; the next one is another handler's.
                    self.pool.acknowledge(worker, id_, step)
                case _:
                    self.runner.hear(report)
                    if isinstance(report, WorkerDied):
                        self.note_death(report)

    def _give_out(self) -> None:
        if not (self.draining or self.space.on):
            self.runner.give_out()

    def _claim(self, now: float) -> None:
        room = self.claims.room(self._ready, now)
        batch = self.intake.turn(now, room) if room else []
        if not batch:
            return
        self.alert.arrived()
        for entry, fault in self.claims.claim(batch, now):
            if fault is not None:
                self.schedule.add(entry.id, entry.name)
                self.runner.fail(entry, fault)
            else:
                self.runner.take_in(entry)

    def _put_away(self, now: float, *, synced: bool) -> None:
        """Move ended files once their records are durable: soon, but many at a time."""
        for entry in self.runner.missing:
            self._look_for(entry)
        self.runner.missing.clear()
        ended = self.runner.ended
        if not ended:
            return
        if self._put_away_at is None:
            self._put_away_at = now + self._put_away_seconds
        hurried = len(ended) >= PUT_AWAY_BATCH or self.pool.idle() or now >= self._put_away_at
        if hurried and (synced or not self.recorder.urgent):
            self._put_away_at = None
            alone, self.runner.ended, self.runner.alone = self.runner.alone, [], set()
            began = self._clocks.monotonic()
            self.reconciler.put_away(ended, alone)
            # On a slow disk more of them share the syncs, which so take a fifth of the time.
            took = self._clocks.monotonic() - began
            self._put_away_seconds = min(max(PUT_AWAY_SECONDS, 4 * took), PUT_AWAY_MOST_SECONDS)
            self.alert.ended(ended)

    def _look_for(self, entry: Entry) -> None:
        """Fetch the file of an item that could not begin, because it was not in its folder."""
        if self.reconciler.fetch(entry):
            self.runner.take_in(entry)
        else:
            self.schedule.finish(entry.id)
