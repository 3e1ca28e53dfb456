"""Drain a home as `resumed drain` does, and say what it took without the start-up.

    drained.py HOME [PROFILE]

The clock runs from the first turn of the loop, before the inbox is listed and after the workers
have loaded their handler, until every item is put away. CPU seconds are those of the daemon and of
its workers from then on. With PROFILE, a profile of the loop is written there.
"""

import cProfile
import json
import os
import resource
import sys
import time
from pathlib import Path

from resumed import config
from resumed.daemon import Daemon
from resumed.drain import Drain
from resumed.log import EventLog
from resumed.notify import Notifier


class Timed(Daemon):
    """A daemon with a stop-watch."""

    def _loop(self, until):
        self.loading = sum(map(spent, self.engine.pool.workers()))
        self.before = os.times()
        self.began_at = time.monotonic()
        started = time.perf_counter()
        if len(sys.argv) > 2:
            profile = cProfile.Profile()
            profile.runcall(super()._loop, until)
            profile.dump_stats(sys.argv[2])
        else:
            super()._loop(until)
        self.seconds = time.perf_counter() - started
        self.after = os.times()
        self.workers_peak_kb = max(map(peak_kb, self.engine.pool.workers()), default=0)


def spent(pid: int) -> float:
    """Return the CPU seconds of a process that lives."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def peak_kb(pid: int) -> int:
    """Return the most memory a process had; what `getrusage` tells may be its parent's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Drain, and print what it took."""
    settings = config.load(None, home=Path(sys.argv[1]))
    log = EventLog(settings.log, sys.stderr, quiet=True)
    daemon = Timed(settings, log=log, notifier=Notifier({}), reload=lambda: settings)
    tally = daemon.run(Drain())
    before, after = daemon.before, daemon.after
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "began_at": daemon.began_at,
        "items": tally.done,
        "failed": tally.failed,
        "seconds": daemon.seconds,
        "rate": tally.done / daemon.seconds,
        "cpu": after.user + after.system - before.user - before.system,
        "user": after.user - before.user,
        "system": after.system - before.system,
        "workers_cpu": workers.ru_utime + workers.ru_stime - daemon.loading,
        "peak_kb": peak_kb(os.getpid()),
        "worker_peak_kb": daemon.workers_peak_kb,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
