"""Cut the power for real: kill at a call, shut the file system down, mount it again, start.

FS_IOC_SHUTDOWN lets nothing more reach the disk of a loop-mounted file system: at once, or after
its log was flushed, which brings names to the disk whose data are not there. It needs root.
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

import crew
import stage
import sweeps

SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
FLUSHES = {"nothing flushed": 2, "log flushed": 1}
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


def cut(mount, flush):
    fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", flush))
    finally:
        os.close(fd)


def run(gold, folder, kind, *, processes=2, until=None):
    """Cut at each call of the run, in each way."""
    row, begun = sweeps.Row(f"power cut, {kind}"), time.monotonic()
    points = sweeps.kills(sweeps.calls_of(gold, Path(folder) / "count"))
    pristine = Path(folder) / f"pristine-{kind}"
    make(pristine, kind)

    def judge(number, case):
        how, point = case
        mount = Path(folder) / f"mount-{kind}-{os.getpid()}"
        mount.mkdir(exist_ok=True)
        image = Path(folder) / f"disk-{kind}-{number}"  # else the dead one might be found again
        command("cp", "--sparse=always", pristine, image)
        try:
            return _cut_once(gold, image, mount, kind, point, FLUSHES[how])
        finally:
            image.unlink()

    cases = [(how, point) for how in FLUSHES for point in points]
    prepare = sweeps.planting("")
    for (how, point), answer in crew.play(
        cases, judge, processes=processes, until=until, prepare=prepare
    ):
        row.add(f"{point}, {how}", *(answer or (True, [crew.HANGS])))
    for mount in Path(folder).glob(f"mount-{kind}-*"):  # of a process that was stopped
        subprocess.run(["umount", "-q", "-l", mount], check=False)
    row.seconds = time.monotonic() - begun
    return row


def _cut_once(gold, image, mount, kind, case, flush):
    outside = image.with_suffix(".effects")
    command("mount", "-o", OPTIONS[kind], image, mount)
    try:
        home, effects = gold.copy(mount / "case")
        shutil.copy(effects, outside)  # the world outside loses no power
        command("sync", "-f", mount)
        status, _ = stage.drain(home, str(outside), stage.Faults(home, case.at, real_syncfs=True))
        cut(mount, flush)
    finally:
        unmount(mount)
    command("mount", "-o", OPTIONS[kind], image, mount)
    try:
        effects = str(outside)
        before, past = len(sweeps.effects_of(effects)), sweeps.recorded_done(home, effects)
        faults = sweeps.recover(home, effects)
        if not faults:
            faults = sweeps.judge_end(
                home, effects, gold.tokens, crashes=1, before=before, past=past
            )
    finally:
        unmount(mount)
    return status == stage.KILLED, faults
