"""Put together everything that one instance consists of, and renew it while it is at work.

What a reload may change is changed here, and only as a whole: the old workers serve until
the new ones have loaded the handler, and if these cannot, everything goes back.
"""

import os
import selectors
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack

from resumed import durable, parts, request
from resumed.alert import Alert
from resumed.control import Control, Whole
from resumed.foreman import Foreman
from resumed.jobwishes import JobWishes
from resumed.launch import Launch
from resumed.parts import Clocks
from resumed.pool import READ, WRITE, Pool
from resumed.recorder import Recorder
from resumed.report import Loaded, LoadFailed, WorkerDied
from resumed.resume import Resumption
from resumed.runner import Runner
from resumed.schedule import Schedule
from resumed.settings import Config
from resumed.space import Intermission
from resumed.spool import Spool
from resumed.upkeep import Upkeep

# So many more than there are workers may die of the import, one after the other.
MORE_DEATHS = 2


class Assembly(ABC):
    """All that one instance consists of."""

    def __init__(self, config: Config, tell: Callable[..., None], clocks: Clocks) -> None:
        """Open everything; the locks must be held by the caller.

        Raises:
            ResumedError: Something is not as it must be.
        """
        self.config = config
        self.selector = selectors.DefaultSelector()
        self.loaded = 0
        self.load_fault: str | None = None
        self._fallback: tuple[Config, Launch] | None = None
        self._awaited = 0
        self._deaths = 0
        self._versions: dict[int, str] = {}  # of the handlers that the workers have loaded
        self._tell = tell
        self._clocks = clocks
        self._stack = ExitStack()
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
        request.sweep(self.requests, clocks.wall())
        self.schedule = Schedule()
        self.space = Intermission(config, tell)
        self._launch = Launch.of(config)
        self.alert = Alert(config, tell, clocks.wall)
        stack.callback(self.alert.hooks.close)
        stack.callback(self.space.probe.close)
        self.pool = Pool(self._launch, config.workers, self._watch_fd, spare=self._children)
        self._open_way()

    def _open_way(self) -> None:
        """Make the way of an item: from the inbox, through the workers, to its folder."""
        config, clocks, tell = self.config, self._clocks, self._tell
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
        self.claims = parts.claims(
            config, self.spool, self.recorder, clocks, moves=self.reconciler, tell=tell
        )

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

    def adapt(self, config: Config) -> None:
        """Begin to go on with another configuration; `renewing` tells when that is decided.

        What runs ends under the configuration that it began with.
        """
        self._fallback = (self.config, self._launch)
        self._awaited = config.workers
        self.load_fault = None
        self._deaths = 0
        self._launch = Launch.of(config)
        self._use(config)
        self.pool.reload(self._launch, config.workers)

    @property
    def renewing(self) -> bool:
        """Tell whether workers of another configuration still load their handler."""
        return self._fallback is not None

    @abstractmethod
    def hear(self, fd: int, events: int) -> None:
        """Take in what a worker's descriptor has to tell."""

    def note_loading(self, report: Loaded | LoadFailed) -> None:
        """Note that a worker has imported the handler, or could not."""
        if isinstance(report, Loaded):
            workers = self.pool.workers()
            self._versions = {pid: its for pid, its in self._versions.items() if pid in workers}
            self._versions[report.worker] = self.config.version
            self.loaded += 1
            self._awaited -= 1
            self._deaths = 0
            if self._fallback is not None:
                # Not before: a handler that cannot be loaded makes no step be repeated.
                self._note_version()
            if self._awaited <= 0:
                self._fallback = None
            return
        self._refuse(report.text)

    def note_death(self, report: WorkerDied) -> None:
        """Note that a worker died: one is replaced, but not for ever if the import ends them."""
        if report.loading and not report.interrupted:
            self._deaths += 1
            if self._deaths >= self.config.workers + MORE_DEATHS:
                self._refuse(report.load_fault)

    def _refuse(self, why: str) -> None:
        """Hold that the handler cannot be loaded, and go back to the one before, if any."""
        self._deaths = 0
        self.load_fault = why
        if self._fallback is not None:
            config, self._launch = self._fallback
            self._fallback = None
            self._use(config)
            self._note_version()
            self.pool.reload(self._launch, config.workers)

    def is_outdated(self, worker: int) -> bool:
        """Tell whether a worker's handler is of a version whose steps were forgotten."""
        version = self.recorder.ledger.version
        return self._versions.get(worker, version) != version

    def _note_version(self) -> None:
        """Forget recorded steps when the handler says that it is another one now."""
        if self.recorder.ledger.version != self.config.version:
            self.recorder.record("versioned", version=self.config.version)
        self.foreman.note_version()

    def _use(self, config: Config) -> None:
        self.config = config
        self.runner.limits = parts.limits(config)
        self.runner.supply.ahead = config.ahead
        self.foreman.use(config)
        self.reconciler.delete_done = config.on_done == "delete"
        self.space.use(config)
        self.alert.config = config
        self.spool.marker_of = parts.rules(config).marker_of
        self.spool.sync_input = config.sync_input
        self.intake.use(parts.gate(config, self.spool, self._clocks), recursive=config.recursive)

    def _children(self) -> set[int]:
        return self.alert.hooks.pids() | self.space.probe.pids()

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
