"""Let handlers eat all the memory that a cgroup has, so that the kernel kills their workers.

The program runs in a cgroup of its own, of the first or the second version, whose counter says
how many were killed. It needs root, and a place where the memory of a new cgroup can be limited.
"""

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import oracle
import reals
import stage
import sweeps
import workers

LIMIT_BYTES = 320 << 20
CONFIG = """
handler = "handler:process"
settle = "0s"
timeout = "60s"
workers = 2
[retry]
max_attempts = 1
"""
HANDLER = """
def process(item):
    eaten = []
    while item.name.startswith("eats"):
        eaten.append(bytearray(b"x") * (1 << 20))
    return {"ok": True}
"""
ENDS = {
    **{f"eats-{number}": workers.FAILED for number in range(3)},
    **{f"fine-{number}": workers.DONE for number in range(8)},
}
# By version: the limit, that of swap, and where the kernel counts whom it killed.
FILES = {
    1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    2: ("memory.max", "memory.swap.max", "memory.events"),
}
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def places():
    """Yield (version, folder) of our own cgroup and those above it, where one may be made."""
    roots = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup2":
            roots[""] = (2, Path(folder))
        elif kind == "cgroup" and "memory" in options.split(","):
            roots["memory"] = (1, Path(folder))
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in roots.keys() & set(controllers.split(",")):
            version, root = roots[name]
            own = root / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(root):
                    yield version, folder


@contextmanager
def cgroup():
    """Make a cgroup with little memory; yield (version, folder), or None where none can be."""
    for version, parent in places():
        folder = parent / f"resumed-proof-{os.getpid()}"
        if limited(version, folder):
            try:
                yield version, folder
            finally:
                gone(folder)
            return
    yield None


def limited(version, folder):
    """Make a cgroup with little memory, and tell whether that could be done."""
    limit, swap, _ = FILES[version]
    try:
        folder.mkdir()
    except OSError:
        return False
    try:
        (folder / limit).write_text(str(LIMIT_BYTES))
    except OSError:
        folder.rmdir()
        return False
    with suppress(OSError):  # where nobody counts swap
        (folder / swap).write_text(str(LIMIT_BYTES if version == 1 else 0))
    return True


def gone(folder):
    """Remove a cgroup as soon as the last one in it has died."""
    for _ in range(500):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
    folder.rmdir()


def killed(version, folder):
    """Read how many processes the kernel has killed for their memory."""
    found = re.search(r"^oom_kill (\d+)", (folder / FILES[version][2]).read_text(), re.MULTILINE)
    return int(found[1])


def available():
    """Say why this sweep cannot run here, or None."""
    with cgroup() as made:
        return None if made else "the memory of no cgroup can be limited here"


def run(folder):
    """Drain once in the cgroup; the eaters fail, all others are done, the daemon lives."""
    home = stage.make(Path(folder) / "oom")
    (home / "resumed.toml").write_text(CONFIG)
    (home / "handler.py").write_text(HANDLER)
    for name in ENDS:
        stage.drop(home, name)
    effects = str(Path(folder) / "oom.effects")
    row, begun = sweeps.Row("out of memory, killed"), time.monotonic()
    eaters = sum(each == workers.FAILED for each in ENDS.values())
    with cgroup() as (version, place):
        status = reals.drain(home, effects, ["sh", "-c", ENTER, str(place)], limit_seconds=200)
        kills = killed(version, place)
    if status not in sweeps.FINE:
        row.add("drain", False, [f"refused with {status}: {sweeps.said(effects)}"])
    if kills < eaters:
        row.add("cgroup", False, [f"{eaters - kills} kills did not happen"])
    seen = oracle.look(home)
    for name, wanted in ENDS.items():
        row.add(name, wanted == workers.FAILED, workers.faults_of(seen, name, wanted))
    row.add("the whole", False, seen.faults + oracle.leftovers(home) + workers.left_running(home))
    row.seconds = time.monotonic() - begun
    shutil.rmtree(home)
    return row
