"""Cut the power for real: kill at a call, shut the file system down, mount it again, start.

FS_IOC_SHUTDOWN lets nothing more reach the disk of a loop-mounted file system. It needs root.
The model of `powerloss` finds more; this says that the model is not dreaming.
"""

# ruff: noqa: PLR0913, PLR0917 - a sweep has many knobs

import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import stage
import sweeps

SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
NO_FLUSH = 2
MEGABYTES = {"ext4": 24, "xfs": 320}
OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop,nouuid"}


def available(kind, folder):
    """Say why this sweep cannot run here, or None."""
    if os.geteuid():
        return "only root may mount"
    if not shutil.which(f"mkfs.{kind}"):
        return f"mkfs.{kind} is not installed"
    try:
        image, mount = Path(folder) / f"probe-{kind}", Path(folder) / f"probe-{kind}.d"
        mount.mkdir()
        make(image, kind)
        command("mount", "-o", OPTIONS[kind], image, mount)
        command("umount", mount)
    except subprocess.CalledProcessError as error:
        return f"no loop mounts: {error.stderr.decode().strip()}"
    return None


def command(*words):
    subprocess.run(list(map(str, words)), check=True, capture_output=True)


def make(image, kind):
    command("truncate", "-s", f"{MEGABYTES[kind]}M", image)
    command(f"mkfs.{kind}", *(["-q", "-F"] if kind == "ext4" else ["-q"]), image)


def unmount(mount):
    for _ in range(100):
        if (
            subprocess.run(["umount", mount], stderr=subprocess.DEVNULL, check=False).returncode
            == 0
        ):
            return
        time.sleep(0.02)
    command("umount", mount)


def cut(mount):
    fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_FLUSH))
    finally:
        os.close(fd)


def run(gold, folder, kind, *, step=1, until=None):
    """Cut at every *step*-th call of the run."""
    row, begun = sweeps.Row(f"power cut, {kind}"), time.monotonic()
    cases = sweeps.kills(sweeps.calls_of(gold, Path(folder) / "count"))[::step]
    mount, pristine = Path(folder) / f"mount-{kind}", Path(folder) / f"pristine-{kind}"
    mount.mkdir()
    make(pristine, kind)
    for number, case in enumerate(cases):
        image = Path(folder) / f"disk-{kind}-{number}"
        command("cp", "--sparse=always", pristine, image)
        row.add(case, *_cut_once(gold, image, mount, kind, case, Path(folder) / "effects"))
        image.unlink()
        if until is not None and time.monotonic() > until:
            break
    row.seconds = time.monotonic() - begun
    return row


def _cut_once(gold, image, mount, kind, case, outside):
    command("mount", "-o", OPTIONS[kind], image, mount)
    try:
        home, effects = gold.copy(mount / "case")
        shutil.copy(effects, outside)  # the world outside loses no power
        command("sync", "-f", mount)
        status, _ = stage.drain(home, str(outside), stage.Faults(home, case.at, real_syncfs=True))
        cut(mount)
    finally:
        unmount(mount)
    command("mount", "-o", OPTIONS[kind], image, mount)
    try:
        effects = str(outside)
        before, past = len(sweeps.effects_of(effects)), sweeps.recorded_done(home, effects)
        faults = [
            f"start {turn} refused with {ended}: {sweeps.said(effects)}"
            for turn in (1, 2)
            if (ended := stage.drain(home, effects)[0]) not in sweeps.FINE
        ]
        if not faults:
            faults = sweeps.judge_end(
                home, effects, gold.tokens, crashes=1, before=before, past=past
            )
    finally:
        unmount(mount)
    return status == stage.KILLED, faults
