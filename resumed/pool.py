"""Keep the workers: start, feed, time, replace and end them. Nothing here waits.

The daemon's loop watches the descriptors that the pool names, and calls `Pool.ready` when one
is; time comes in by `Pool.tick`, due at `Pool.due`. Both return what happened, as reports.

- An attempt is running, timed and charged from the moment its worker said that it began. What
  was only sent to a worker that died is given back and costs its item nothing.
- A worker past its *recycle* items, or of an old `Launch`, goes on until its successor has
  loaded the handler: no hole in the service, and a handler that cannot be loaded any more
  leaves the old workers where they are.
- A worker that dies is replaced at once; one that dies before it began anything, or cannot
  load the handler, after a delay that doubles up to `RESTART_SECONDS`.
- With a worker die all its descendants, whatever session they are in; see `resumed.orphans`.
"""

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from resumed import mark, memory, orphans, report, wire
from resumed.launch import Launch
from resumed.process import READS_AT_END, Process
from resumed.report import Report
from resumed.wire import Work

READ, WRITE = 1, 2
RESTART_SECONDS = 60.0
SWEEP_SECONDS = 0.05
_FIRST_RESTART_SECONDS = 0.1
_DOUBLINGS = 10
_SLOTS_A_WORKER = 4

Watch: TypeAlias = Callable[[int, int], None]


class Pool:
    """The workers of one daemon."""

    def __init__(
        self,
        launch: Launch,
        workers: int,
        watch: Watch,
        *,
        spare: Callable[[], Collection[int]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a pool of so many *workers*, not yet started.

        *watch* is told each descriptor with `READ`, `WRITE`, both, or 0 to forget it. *spare*
        names the daemon's own other children, which are nobody's orphans.
        """
        self._launch = launch
        self._size = workers
        self._watch = watch
        self._spare = spare
        self._clock = clock
        self._workers: dict[int, Process] = {}
        self._by_descriptor: dict[int, Process] = {}
        self._slot = -1
        self._bad_starts = 0
        self._restart_at: float | None = None
        self._sweep_at: float | None = None
        self._oom_kills = memory.kills()
        self._stopping = False

    def start(self) -> None:
        """Start the workers; each tells `Loaded` or `LoadFailed`.

        Raises:
            OSError: A worker could not be started.
        """
        orphans.adopt()
        self._launch.marks.mkdir(0o700, parents=True, exist_ok=True)
        for _ in range(self._size):
            self._add()

    def workers(self) -> dict[int, str | None]:
        """Name each worker by its process id, with the item that it runs."""
        return {pid: worker.running for pid, worker in self._workers.items()}

    def room(self) -> dict[int, int]:
        """Say how many more items each worker that serves may be sent, idle ones first."""
        serving = sorted(self._serving(), key=lambda each: each.load)
        return {each.pid: mark.AHEAD_LIMIT - each.load for each in serving}

    def idle(self) -> bool:
        """Tell whether no worker has anything to do."""
        return all(worker.idle for worker in self._workers.values())

    def assign(self, worker: int, work: Sequence[Work]) -> None:
        """Send items to a worker, at most as many as it has `room` for."""
        process = self._workers[worker]
        process.assigned.extend(each.id for each in work)
        process.tell(*wire.assign(work))
        self._send(process)

    def acknowledge(self, worker: int, id_: str, step: str) -> None:
        """Tell a worker that its step is durable; one that died meanwhile need not know."""
        process = self._workers.get(worker)
        if process is not None and process.running == id_:
            process.tell({"do": "stepped", "id": id_, "step": step})
            self._send(process)

    def recall(self) -> None:
        """Ask all workers to give back what they have not begun."""
        for process in self._workers.values():
            if process.assigned:
                process.recall()

    def stop(self) -> None:
        """Give back what was not begun, let what runs finish, and replace nobody any more."""
        self._stopping = True
        self.recall()
        for process in self._workers.values():
            process.ask_to_stop()
            process.leave(self._clock())

    def interrupt(self) -> None:
        """End every worker now: politely, then by force; what runs does not count."""
        self._stopping = True
        for process in self._workers.values():
            process.interrupt(self._clock())

    def kill(self, worker: int) -> None:
        """End one worker like that; it is replaced."""
        if worker in self._workers:
            self._workers[worker].interrupt(self._clock())

    def reload(self, launch: Launch, workers: int) -> None:
        """Replace the workers by those of *launch*, once these have loaded its handler.

        After a `LoadFailed` a second call with the old value goes back to it: its workers
        are still there.
        """
        self._launch, self._size, self._bad_starts = launch, workers, 0
        for process in self._workers.values():
            if process.launch is not launch and not process.loaded:
                process.leave(self._clock())
        self._fill()
        self._retire()

    def close(self) -> list[Report]:
        """Kill what still lives, wait for its end, and return what it leaves."""
        self._stopping = True
        reports: list[Report] = []
        for process in list(self._workers.values()):
            process.interrupted = True
            process.kill("interrupted")
            process.wait()
            reports += self._bury(process)
        orphans.kill_all(self._spare())
        return reports

    def ready(self, fd: int, _events: int = READ) -> list[Report]:
        """Do what the readiness of *fd* calls for, and return what was heard."""
        process = self._by_descriptor.get(fd)
        if process is None:
            return []
        if fd == process.work:
            self._send(process)
            return []
        # What is said comes before what is printed: an end may change whose output it is.
        reports = self._hear(process)
        if fd == process.output and not process.read_output():
            self._forget(fd)
        elif fd == process.ending and process.ended() is not None:
            reports += self._bury(process)
        return reports

    def due(self) -> float | None:
        """Say when `tick` has something to do next, on the pool's clock."""
        moments = [self._restart_at, self._sweep_at]
        moments += [each.deadline() for each in self._workers.values()]
        return min((each for each in moments if each is not None), default=None)

    def tick(self, now: float) -> list[Report]:
        """Do what is due at *now*."""
        for process in self._workers.values():
            process.enforce(now)
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        if self._restart_at is not None and now >= self._restart_at:
            self._restart_at = None
            self._fill()
        return []

    def _serving(self) -> list[Process]:
        return [each for each in self._workers.values() if each.loaded and each.staying]

    def _lasting(self) -> int:
        """Count the workers that need no successor."""
        return sum(
            each.staying and each.launch is self._launch and each.begun < each.launch.recycle
            for each in self._workers.values()
        )

    def _fill(self) -> None:
        """Start successors for those that will not last, unless that just went wrong."""
        if self._stopping or self._restart_at is not None:
            return
        try:
            for _ in range(self._size - self._lasting()):
                self._add()
        except OSError:
            self._restart_later()

    def _restart_later(self) -> None:
        delay = _FIRST_RESTART_SECONDS * 2 ** min(self._bad_starts, _DOUBLINGS)
        self._bad_starts += 1
        self._restart_at = self._clock() + min(delay, RESTART_SECONDS)

    def _retire(self) -> None:
        """Let those go that have a successor: the outdated first, then the most used."""
        serving = sorted(
            self._serving(), key=lambda each: (each.launch is self._launch, -each.begun)
        )
        for process in serving[: max(0, len(serving) - self._size)]:
            process.leave(self._clock())

    def _add(self) -> None:
        used = {each.slot for each in self._workers.values()}
        # A dead worker's marks stay a while: the daemon may not have recorded them yet.
        slots = _SLOTS_A_WORKER * max(self._size, len(used) + 1)
        turns = ((self._slot + turn) % slots for turn in range(1, slots + 1))
        self._slot = next(slot for slot in turns if slot not in used)
        process = Process(self._launch, self._slot, self._clock())
        self._workers[process.pid] = process
        for fd in (process.report, process.output, process.ending):
            self._by_descriptor[fd] = process
            self._watch(fd, READ)
        self._send(process)

    def _send(self, process: Process) -> None:
        """Send what waits, and watch for room in the pipe exactly while something does."""
        process.send()
        watched = process.work in self._by_descriptor
        if process.unsent and not watched:
            self._by_descriptor[process.work] = process
            self._watch(process.work, WRITE)
        elif watched and not process.unsent:
            self._forget(process.work)
        if process.leaving:
            process.leave(self._clock())

    def _forget(self, fd: int) -> None:
        if self._by_descriptor.pop(fd, None):
            self._watch(fd, 0)

    def _hear(self, process: Process) -> list[Report]:
        reports = list(process.hear(self._clock()))
        for each in reports:
            if isinstance(each, report.Loaded):
                self._retire()
            elif isinstance(each, report.Began):
                self._bad_starts *= process.begun > 1
                if process.begun == process.launch.recycle:
                    self._fill()
        if process.heard_all:
            self._forget(process.report)
        self._send(process)
        return reports

    def _bury(self, process: Process) -> list[Report]:
        """Take the last of a dead worker, and replace it."""
        reports = self._hear(process)
        process.read_output(READS_AT_END)
        del self._workers[process.pid]
        for fd in (process.work, process.report, process.output, process.ending):
            self._forget(fd)
        process.close()
        self._sweep(self._clock())
        if process.staying or not process.idle:
            before, self._oom_kills = self._oom_kills, memory.kills()
            reports.append(process.death(out_of_memory=self._oom_kills > before))
        if process.begun == 0 and not process.leaving:
            self._restart_later()
        self._fill()
        return reports

    def _sweep(self, now: float) -> None:
        """Kill what dead workers left behind; who does not die at once is looked at later."""
        swept = orphans.sweep({*self._workers, *self._spare()})
        self._sweep_at = None if swept else now + SWEEP_SECONDS


def end_leftovers(marks: Path) -> list[mark.Mark]:
    """End the workers that outlived a dead daemon, and return every mark that they left.

    Call it before `Pool.start`, which begins new marks. An attempt that its mark names began,
    whether or not the journal knows of it.
    """
    found: list[mark.Mark] = []
    for path in sorted(marks.glob("*")):
        left = mark.read(path)
        found += left
        for pid, born in {(each.pid, each.born) for each in left}:
            orphans.end(pid, born)
    return found
