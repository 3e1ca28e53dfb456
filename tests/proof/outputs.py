"""Cut the power while a worker publishes what its handler made, and let the next attempt do it.

In the other sweeps the workers are played, and publish nothing. Here the package's own code
publishes two files, one of them under a name that is taken. Once the worker was told that this
is durable, both are there; else they are after the next attempt, each once, and whole.
"""

# ruff: noqa: PLR0913 - a sweep has many knobs

import os
import random
import shutil
import time
from pathlib import Path

import crew
import planted
import powerloss
import stage
import sweeps

ID = "1a20444699e-47ab3ff404"
MADE = {"free.txt": b"made" * 300, "taken.txt": b"made too"}
WANTED = {
    "free.txt": MADE["free.txt"],
    "taken.txt": b"somebody else's",
    f"taken~{ID}.txt": MADE["taken.txt"],
}


def publish(home):
    """Do what a worker does when a step has ended that wrote outputs."""
    from resumed.output import Outputs
    from resumed.scratch import Scratch, Spare

    scratch = Scratch(Path(home) / "active" / f"{ID}.work", Spare())
    outputs = Outputs(scratch, Path(home) / "out", ID)
    for name, content in MADE.items():
        fd = os.open(outputs.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, content)
        os.close(fd)
    outputs.publish(MADE)
    stage.told("kept", "outputs")
    return 0


def run(folder, *, bug="", seed=1, processes=2, until=None, first=False):
    """Judge all states of both models."""
    row, begun = sweeps.Row("power loss, outputs"), time.monotonic()
    home = stage.make(Path(folder) / "outputs")
    (home / "out" / "taken.txt").write_bytes(WANTED["taken.txt"])
    disks = [powerloss.Disk(model, home) for model in ("strict", "ordered")]
    plan, effects = stage.Faults(home, ops=[]), str(Path(folder) / "outputs.effects")
    plant = planted.BUGS.get(bug)
    _, ops = stage.drain(home, effects, plan, plant, lambda faults: faults.ops, deed=publish)
    shutil.rmtree(home)
    seen, states = set(), []
    for disk in disks:
        every = powerloss.cuts(disk, ops, "", random.Random(seed), 200)
        states += powerloss.different(every, seen)

    def judge(number, state):
        return judge_state(Path(folder) / f"o{os.getpid()}-{number}", state)

    options = {"processes": processes, "until": until, "prepare": sweeps.planting(bug)}
    for state, faults in crew.play(states, judge, **options):
        row.add(state[0], True, [crew.HANGS] if faults is None else faults)
        if first and row.bad:
            break
    row.seconds = time.monotonic() - begun
    return row


def judge_state(place, state):
    """Publish again, unless it was said to be durable; compare what is in ``out/`` then."""
    _, tree, _, told = state
    home = place / "home"
    powerloss.write_tree(home, tree)
    if not told:
        publish(home)
    found = {each.name: each.read_bytes() for each in (home / "out").iterdir()}
    faults = [f"LOST the output {each}" for each in WANTED.keys() - found.keys()]
    faults += [f"DOUBLED: {each} is in out/, too" for each in found.keys() - WANTED.keys()]
    for name in WANTED.keys() & found.keys():
        if found[name] != WANTED[name]:
            faults.append(f"SILENT: {name} is not whole, or not whose it was")
    shutil.rmtree(place)
    return faults
