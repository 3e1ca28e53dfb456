"""Turn the engine: wait, listen to signals and systemd, and end in good order.

A turn, in this order, because each step may rely only on what is durable then::

    wait for a hint, a worker, a signal or the next due time
    hear the workers        their outcomes and steps become records
    answer requests         after a hint, and with every scan
    claim what is ready     its files are durable in active/, then recorded
    commit                  one sync; only now outcomes are told and steps acknowledged
    put away what ended     files follow their records, in batches
    give out                to every worker that has room
    ping, once per turn     systemd's watchdog, and the lock file for resumed-ctl
"""

import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from resumed import tally
from resumed.bulletin import Bulletin
from resumed.control import Whole
from resumed.due import Due
from resumed.engine import Engine
from resumed.errors import ConfigError, Mistake, ResumedError
from resumed.log import EventLog
from resumed.lookout import Lookout
from resumed.model import Failed
from resumed.notify import Notifier
from resumed.parts import Clocks, Locks, collect_seldom, ctl, make_folders, rules
from resumed.request import NotNowError
from resumed.settings import Config
from resumed.signals import Signals
from resumed.tally import Tally

EXTEND_SECONDS = 30.0
PING_SECONDS = 30.0


class Daemon:
    """One instance at work. `run` returns when it was told to stop, or has drained."""

    def __init__(
        self,
        config: Config,
        *,
        log: EventLog,
        notifier: Notifier,
        reload: Callable[[], Config],
    ) -> None:
        """*reload* reads the configuration again, for SIGHUP and the request."""
        self.config = config
        self.stopping = False
        self._tell = log.event
        self._notifier = notifier
        self._reload = reload
        self._clocks = Clocks(time.time, time.monotonic, random.SystemRandom().getrandbits)
        now = self._clocks.monotonic()
        self._due = Due(ping=now, rescan=now + config.rescan_seconds)
        self._before = (0, 0)
        self._renewing = False
        self._hung_up = False

    def run(self, until: Callable[["Daemon"], bool] | None = None) -> Tally:
        """Work until SIGTERM, or until *until* says that all is done; return what was done.

        Raises:
            ResumedError: The work cannot go on; what was told is on the disk.
        """
        make_folders(self.config.paths)
        collect_seldom()
        with ExitStack() as stack:
            self._locks = Locks(self.config.paths)
            stack.callback(self._locks.close)
            self._signals = Signals()
            stack.callback(self._signals.close)
            self._bulletin = Bulletin(self.config.paths.state, self._notifier)
            stack.callback(self._bulletin.close)
            return self._run(until)

    def tally(self) -> Tally:
        """Count what was done since the start and what is left."""
        engine = self.engine
        return tally.count(engine.recorder.ledger, self._before, engine.intake.not_ready())

    def stop(self) -> None:
        """Claim nothing more, and let what runs finish; asked again, interrupt it."""
        now = self._clocks.monotonic()
        if self.stopping:
            self._due.interrupt = now
            return
        self.stopping = True
        self._due.interrupt = now + self.config.stop_timeout_seconds
        self._due.extend = now
        self._notifier.stopping()
        self._tell("stopping", running=self.engine.schedule.running)
        self.engine.drain()

    def _run(self, until: Callable[["Daemon"], bool] | None) -> Tally:
        self.engine = Engine(self.config, self._tell, self._clocks)
        try:
            self._lookout = Lookout(
                self.config, rules(self.config), tell=self._tell, wake=self._signals.wake
            )
            try:
                self._start(watching=until is None)
                self._loop(until)
            finally:
                self._lookout.close()
            self._end(told=until is None)
        except BaseException:
            self.engine.abandon()
            raise
        return self._last_tally

    def _start(self, *, watching: bool) -> None:
        engine = self.engine
        engine.attend(Whole(self._pause, self._unpause, self._reload_now))
        engine.selector.register(self._signals.fd, 1, None)
        self._before = tally.ended(engine.recorder.ledger)
        # What fell due while nobody was here is not to come at once; a drain has no later.
        engine.runner.spread_overdue = watching
        engine.resume()
        self._tell_resuming()
        engine.pool.start()
        if watching:
            # Watch first, scan then: a file that comes in between is seen twice, not never.
            self._lookout.listen()
        engine.intake.scan()
        self._wait_for_workers()
        if watching and not self.stopping:
            engine.turn()
            self._notifier.ready()
            self._tell("ready", inbox=str(self.config.paths.inbox))
        engine.control.turn()

    def _tell_resuming(self) -> None:
        left = self.tally()
        ledger = self.engine.recorder.ledger
        self._tell(
            "resuming",
            done=ledger.counts.get("done", 0),
            to_go=left.to_go,
            waiting=left.waiting,
            failed=sum(isinstance(each.state, Failed) for each in ledger.items.values()),
        )

    def _wait_for_workers(self) -> None:
        """Return when every worker has imported the handler; it must, for READY to be true."""
        engine = self.engine
        while engine.loaded < self.config.workers and not self.stopping:
            if engine.load_fault is not None:
                self._tell("handler_refused", why=engine.load_fault)
                mistake = f"the handler cannot be loaded: {engine.load_fault}"
                raise ConfigError((Mistake(self.config.file, 0, mistake),))
            self._wait(engine.pool.due())
            engine.pool.tick(now := self._clocks.monotonic())  # one that died is replaced
            self._do_duties(now)

    def _loop(self, until: Callable[["Daemon"], bool] | None) -> None:
        engine = self.engine
        while not (self.stopping and engine.quiet()):
            engine.turn()
            if until is not None and not self.stopping and until(self):
                self.stop()
                continue
            self._turn()
            if self._hung_up and not self.stopping:
                self._reload_by_signal()

    def _turn(self) -> None:
        """Do what is the daemon's own, wait for what comes first, and let the engine turn."""
        self._do_duties(self._clocks.monotonic())
        self._wait(self.engine.due(self._clocks.monotonic()))
        if self._renewing:
            self.engine.turn()

    def _answer(self) -> None:
        """Answer requests; while one of them is being followed, the others wait for it."""
        if not (self.stopping or self._renewing):
            self.engine.control.turn()

    def _wait(self, due: float | None) -> None:
        """Wait for whatever comes first, and hear it."""
        engine = self.engine
        seconds = max(0.0, self._due.first(due) - self._clocks.monotonic())
        for key, events in engine.selector.select(seconds):
            if key.fd == self._signals.fd:
                self._wake()
            else:
                engine.hear(key.fd, events)

    def _wake(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGHUP:
                self._hung_up = True
            else:
                self.stop()
        self._take_hints()

    def _take_hints(self) -> None:
        hints = self._lookout.take()
        if hints.scan:
            self.engine.rescan()
        self.engine.intake.hint(hints.names, hints.births, self._clocks.monotonic())
        if hints.requests:
            self._answer()

    def _do_duties(self, now: float) -> None:
        """Do what is the daemon's own to do, at its time."""
        due = self._due
        if now >= due.ping:
            due.ping = now + self._ping_seconds()
            self._locks.touch()
            self._notifier.alive()
            self.engine.alert.look(self.engine.recorder.ledger)
        if now >= due.rescan and not self.stopping:
            due.rescan = now + self.config.rescan_seconds
            self._lookout.mend(self.engine)
            self.engine.rescan()
            self._answer()
        if due.extend is not None and now >= due.extend:
            due.extend = now + EXTEND_SECONDS / 3
            self._notifier.extend(EXTEND_SECONDS)
        if due.interrupt is not None and now >= due.interrupt:
            due.interrupt = None
            self.engine.pool.interrupt()
        due.status = self._bulletin.show(
            self.engine, now, watching=self._lookout.watching, next_scan=due.rescan
        )

    def _ping_seconds(self) -> float:
        watchdog = self._notifier.watchdog_seconds
        return min(watchdog / 2, PING_SECONDS) if watchdog else PING_SECONDS

    def _pause(self) -> str:
        self.engine.recorder.record("paused", by="request")
        return f"paused; nothing more is claimed until '{ctl(self.config)} unpause'"

    def _unpause(self) -> str:
        self.engine.recorder.record("unpaused", by="request")
        return "unpaused"

    def _reload_by_signal(self) -> None:
        # Not while a reload is under way, which may have read the configuration before.
        self._hung_up = False
        self._notifier.reloading()
        # A refusal was told where it was found.
        with suppress(NotNowError):
            self._reload_now()
        self._notifier.ready()

    def _reload_now(self) -> str:
        if self._renewing:
            raise NotNowError("a reload is under way")
        try:
            config = self._reload()
            if config.paths != self.config.paths:
                raise ConfigError((Mistake(config.file, 0, "paths change only by a restart"),))
            self._renew(config)
        except ResumedError as error:
            self._tell("reload_refused", why=str(error))
            raise NotNowError(f"refused, the old configuration stays: {error}") from error
        self.config = config
        self._lookout.use(config, rules(config))
        self.engine.recorder.record("reloaded")
        self._tell("reloaded")
        return "reloaded"

    def _renew(self, config: Config) -> None:
        """Go on working until the new workers have loaded the handler, or one of them cannot."""
        engine = self.engine
        self._renewing = True
        engine.adapt(config)
        while engine.renewing and not self.stopping:
            self._turn()
        self._renewing = False
        self._due.rescan = self._clocks.monotonic()  # what was asked meanwhile is heard now
        if engine.load_fault is not None:
            fault = f"the handler cannot be loaded: {engine.load_fault}"
            raise ConfigError((Mistake(config.file, 0, fault),))

    def _end(self, *, told: bool) -> None:
        self._last_tally = self.tally()
        self.engine.close()
        if told:
            self._tell("stopped")
        elif not self.engine.space.on:
            self._bulletin.drained(self.engine.recorder.now())
