"""Put the parts together, and do a turn's work in the order that keeps the promises.

`Engine` knows nothing of signals, systemd or terminals: it is driven by `resumed.daemon`,
for a service and for a drain alike.
"""

import os
import selectors
from collections.abc import Callable
from contextlib import ExitStack

from resumed import durable, parts
from resumed.alert import Alert
from resumed.control import Control, Whole
from resumed.entry import Entry
from resumed.foreman import Foreman
from resumed.jobwishes import JobWishes
from resumed.launch import Launch
from resumed.parts import Clocks
from resumed.pool import READ, WRITE, Pool
from resumed.recorder import Recorder
from resumed.report import Loaded, LoadFailed, Report
from resumed.resume import Resumption
from resumed.runner import Runner
from resumed.schedule import Schedule
from resumed.settings import Config
from resumed.space import Intermission
from resumed.spool import Spool
from resumed.upkeep import Upkeep

PUT_AWAY_BATCH = 256
PUT_AWAY_SECONDS = 0.05
PUT_AWAY_MOST_SECONDS = 1.0


class Engine:
    """All that one instance consists of, except the loop that turns it."""

    def __init__(self, config: Config, tell: Callable[..., None], clocks: Clocks) -> None:
        """Open everything; the locks must be held by the caller.

        Raises:
            ResumedError: Something is not as it must be.
        """
        self.config = config
        self.selector = selectors.DefaultSelector()
        self.pending_reports: list[Report] = []
        self.loaded = 0
        self.load_fault: str | None = None
        self.draining = False
        self.claiming = True
        self._tell = tell
        self._clocks = clocks
        self._stack = ExitStack()
        self._put_away_at: float | None = None
        self._put_away_seconds = PUT_AWAY_SECONDS
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack) -> None:
        config, clocks, tell = self.config, self._clocks, self._tell
        stack.callback(self.selector.close)
        self.recorder = Recorder(config.paths, clocks.wall, clocks.bits)
        if self.recorder.torn:
            length, kept_as = self.recorder.torn
            tell("torn", file=str(config.paths.journal), bytes=length, kept_as=kept_as)
        marker_of = parts.rules(config).marker_of
        self.spool = Spool(config.paths, sync_input=config.sync_input, marker_of=marker_of)
        stack.callback(self.spool.close)
        self.requests = durable.open_folder(config.paths.requests)
        stack.callback(os.close, self.requests)
        self.schedule = Schedule()
        self.space = Intermission(config, tell)
        self._launch = Launch.of(config)
        self._fallback: tuple[Config, Launch] | None = None
        self.alert = Alert(config, tell, clocks.wall)
        stack.callback(self.alert.hooks.close)
        stack.callback(self.space.probe.close)
        self.pool = Pool(self._launch, config.workers, self._watch_fd, spare=self._children)
        self.reconciler = parts.reconciler(config, self.spool, self.recorder)
        self.upkeep = Upkeep(self.recorder, self.reconciler, tell)
        self.runner = Runner(
            recorder=self.recorder,
            schedule=self.schedule,
            spool=self.spool,
            workers=self.pool,
            active=config.paths.active,
            limits=parts.limits(config),
            clock=clocks.monotonic,
            tell=tell,
            pause=lambda why: self.space.broken(why, clocks.monotonic()),
            sound=self.space.sound,
            ahead=config.ahead,
        )
        self.foreman = Foreman(
            config,
            recorder=self.recorder,
            schedule=self.schedule,
            spool=self.spool,
            runner=self.runner,
            clock=clocks.monotonic,
            tell=tell,
            acknowledge=self.pool.acknowledge,
            generation=f"{clocks.bits(32):08x}",
            ctl=parts.ctl(config),
        )
        self.runner.jobs = self.foreman
        self.intake = parts.intake(config, self.spool, clocks, tell)
        self.claims = parts.claims(config, self.spool, self.recorder, clocks, self.reconciler)

    def attend(self, whole: Whole) -> None:
        """Open the door for requests."""
        self.control = Control(
            folder_fd=self.requests,
            recorder=self.recorder,
            schedule=self.schedule,
            runner=self.runner,
            reconciler=self.reconciler,
            jobs=JobWishes(
                foreman=self.foreman,
                recorder=self.recorder,
                runner=self.runner,
                reconciler=self.reconciler,
                spool=self.spool,
            ),
            whole=whole,
            tell=self._tell,
        )

    def resume(self) -> None:
        """Continue what an earlier run left; its decisions are durable on return."""
        config = self.config
        self._note_version()
        marker_of = parts.rules(config).marker_of
        resumption = Resumption(
            self.recorder, self.spool, self.runner, self.reconciler, marker_of, self._clocks.mint
        )
        resumption.run(config.paths.state / "marks")
        self.foreman.resume()

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

    def adapt(self, config: Config) -> None:
        """Go on with another configuration; what runs ends under the one it began with.

        The old workers serve until the new ones have loaded the handler. If these cannot,
        everything goes back to what it was.
        """
        self._fallback = (self.config, self._launch)
        self._launch = Launch.of(config)
        self._use(config)
        self._note_version()
        self.pool.reload(self._launch, config.workers)

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
        self.runner.note_turn(self._clocks.monotonic() - now)

    @property
    def paused(self) -> bool:
        """Tell whether a person paused the intake."""
        return self.recorder.ledger.paused

    def due(self, now: float) -> float | None:
        """Say when `turn` has something to do again without being woken."""
        times = [self.alert.hooks.due(), self.pool.due(), self.runner.due()]
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
        """Count what was claimed and waits for a worker, or to be opened."""
        return self.schedule.ready + self.foreman.queued

    def rescan(self) -> None:
        """Look at the whole inbox again, and whether what we keep is still where we put it."""
        self.intake.scan()
        self.upkeep.miss()

    def quiet(self) -> bool:
        """Tell whether nothing runs and nothing is on its way to a folder."""
        return self.pool.idle() and not self.runner.ended and not self.schedule.running

    def close(self) -> None:
        """End the workers, record what that interrupts, and let go of everything."""
        self._hear(self.pool.close())
        self.recorder.commit()
        self.foreman.close()
        self._put_away(self._clocks.monotonic(), synced=True)
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
                case Loaded():
                    self.loaded += 1
                case LoadFailed(_, fault):
                    self._load_failed(fault)
                case _:
                    self.runner.hear(report)

    def _load_failed(self, fault: str) -> None:
        if self._fallback is None:
            self.load_fault = fault
            return
        config, self._launch = self._fallback
        self._fallback = None
        self._use(config)
        self.pool.reload(self._launch, config.workers)
        self._tell("reload_refused", why=f"the handler cannot be loaded: {fault}")

    def _note_version(self) -> None:
        """Forget recorded steps when the handler says that it is another one now."""
        if self.recorder.ledger.version != self.config.version:
            self.recorder.record("versioned", version=self.config.version)

    def _use(self, config: Config) -> None:
        self.config = config
        self.runner.limits = parts.limits(config)
        self.runner.ahead = config.ahead
        self.foreman.use(config)
        self.reconciler.delete_done = config.on_done == "delete"
        self.space.use(config)
        self.alert.config = config
        self.spool.marker_of = parts.rules(config).marker_of
        self.spool.sync_input = config.sync_input
        self.intake.use(parts.gate(config, self.spool, self._clocks), recursive=config.recursive)

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
            self.runner.ended = []
            began = self._clocks.monotonic()
            self.reconciler.put_away(ended)
            # On a slow disk more of them share the syncs, which so take a fifth of the time.
            took = self._clocks.monotonic() - began
            self._put_away_seconds = min(max(PUT_AWAY_SECONDS, 4 * took), PUT_AWAY_MOST_SECONDS)
            self.alert.ended(ended)

    def _children(self) -> set[int]:
        return self.alert.hooks.pids() | self.space.probe.pids()

    def _look_for(self, entry: Entry) -> None:
        """Fetch the file of an item that could not begin, because it was not in its folder."""
        if self.reconciler.fetch(entry):
            self.runner.take_in(entry)
        else:
            self.schedule.finish(entry.id)

    def _watch_fd(self, fd: int, events: int) -> None:
        """Watch a descriptor of the pool's, otherwise, or no more."""
        wanted = (selectors.EVENT_READ if events & READ else 0) | (
            selectors.EVENT_WRITE if events & WRITE else 0
        )
        known = fd in self.selector.get_map()
        if not wanted:
            if known:
                self.selector.unregister(fd)
        elif known:
            self.selector.modify(fd, wanted, self.hear)
        else:
            self.selector.register(fd, wanted, self.hear)
