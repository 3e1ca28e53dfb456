"""Fill a disk for real, a small tmpfs, at every byte of what is written; then make space again.

A tmpfs gives out pages: to have it full at the k-th byte of a record, the journal is brought to
a length from which that record crosses the end of its last page there. It needs root.
"""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import crew
import oracle
import stage
import sweeps

PAGE = 4096
CLAIM = {"size": 1, "mtime_ns": 1, "owner": 0}
RECORD_BYTES = 110
PAGES_OF_REWRITING = 5
PAGES_OF_RUN = 24


def available():
    """Say why this sweep cannot run here, or None."""
    return "only root may mount" if os.geteuid() else None


def run(gold, folder, *, processes=2, until=None):
    """Play all cases; one whose disk had room enough is not counted."""
    begun, row = time.monotonic(), sweeps.Row("disk full, then space again")
    mount = None

    def prepare():
        nonlocal mount
        mount = Path(folder) / f"full-{os.getpid()}"
        mount.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", str(mount)]
        subprocess.run(command, check=True)
        stage.become()
        from resumed.recorder import Recorder

        Recorder._room_for = lambda *_: True  # the space goes between the look and the write

    def judge(_, case):
        let_go(mount)
        for left in mount.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        kind, *numbers = case
        if kind == "run":
            return run_in(mount, gold, *numbers)
        return {"append": append, "rewriting": rewriting}[kind](mount, *numbers)

    cases = [("append", at) for at in range(RECORD_BYTES)]
    pads = range(1, RECORD_BYTES + 40)
    cases += [("rewriting", pages, pad) for pages in range(PAGES_OF_REWRITING) for pad in pads]
    cases += [("run", pages) for pages in range(PAGES_OF_RUN)]
    for case, answer in crew.play(cases, judge, processes=processes, until=until, prepare=prepare):
        happened, faults = answer or (True, [crew.HANGS])
        if happened or faults:
            row.add(" ".join(map(str, case)), happened, faults)
    row.seconds = time.monotonic() - begun
    return row


def let_go(mount):
    """Close what a refused one left open, as the end of its process would: it holds space."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(f"{mount}/"):
                os.close(int(name))


def fill(mount, pages):
    """Take all space but for so many *pages*."""
    fd = os.open(mount / "filler", os.O_WRONLY | os.O_CREAT)
    length = 0
    with suppress(OSError):
        while written := os.write(fd, bytes(64 * PAGE)):
            length += written
    os.ftruncate(fd, max(0, length - pages * PAGE))
    os.close(fd)


def open_book(home, number=7):
    from resumed.recorder import Recorder
    from resumed.settings import Paths

    return Recorder(Paths.below(home, home / "state"), lambda: 1763812800.0, lambda _: number)


def make_home(mount):
    home = stage.make(mount / "home")
    (home / "state" / "history").mkdir()
    return home


def append(mount, at):
    """Let the disk be full *at* so many bytes of a record's line."""
    home = make_home(mount)
    book = open_book(home)
    book.record("claimed", id="i0", name="f0", inode=1, **CLAIM)
    book.record("stepped", id="i0", step="a", result="x" * 2000)
    book.commit()
    before = book.length_bytes
    book.record("stepped", id="i0", step="b", result="x" * 2000)
    book.commit()
    line = book.length_bytes - before
    padding = (-at - book.length_bytes - line) % PAGE
    book.record("stepped", id="i0", step="c", result="x" * (2000 + padding))
    book.commit()
    fill(mount, 0)
    told = []
    book.record("done", id="i0", attempt=1, result=None, seconds=0)
    book.then(lambda: told.append("done"))
    full = refused(book.commit)
    faults = ["SILENT: told although the disk was full"] if full and told else []
    if len(told) != 1 and not full:
        faults.append("a record that had room was not told")
    return full, faults + go_on(mount, home, {"i0": {"pending", "done"} if full else {"done"}})


def rewriting(mount, pages, pad):
    """Let the disk be full after so many *pages* of a rewriting, whose text is moved by *pad*."""
    home = make_home(mount)
    book = open_book(home)
    book.record("claimed", id="i0", name="f" * pad, inode=1, **CLAIM)
    for turn in range(1, 60):
        book.record("claimed", id=f"i{turn}", name=f"f{turn}", inode=turn + 1, **CLAIM)
        if turn % 3 == 0:
            book.record("done", id=f"i{turn}", attempt=1, result=None, seconds=0)
            book.record("put_away", id=f"i{turn}", **{"as": f"f{turn}"})
    book.commit()
    fill(mount, pages)
    content = (home / "state" / "journal.jsonl").read_bytes()
    full = refused(lambda: open_book(home, 8))
    faults = []
    if full and (home / "state" / "journal.jsonl").read_bytes() != content:
        faults.append("the old journal was changed, and there was no space for a new one")
    return full, faults + go_on(
        mount, home, {f"i{n}": {"pending"} for n in range(60) if n % 3 or not n}
    )


def refused(action):
    from resumed.errors import StorageError

    try:
        action()
    except StorageError:
        return True
    return False


def go_on(mount, home, wanted):
    """Make space, open, write, and compare with what there must be: id → states it may have."""
    let_go(mount)
    (mount / "filler").unlink()
    try:
        book = open_book(home, 9)
        book.record("claimed", id="last", name="last", inode=99, **CLAIM)
        book.close()
    except Exception as error:  # noqa: BLE001 - with space again, nothing may stop it
        return [f"refused with space again: {error!r}"]
    seen = oracle.look(home)
    faults = list(seen.faults)
    for item_id, states in {**wanted, "last": {"pending"}}.items():
        item = seen.items.get(item_id)
        if item is None:
            faults.append(f"LOST {item_id}")
        elif item.state not in states:
            faults.append(f"{item_id} is {item.state}, not one of {states}")
    found = [each for each in seen.items if each not in wanted and each != "last"]
    return faults + [f"INVENTED {each}" for each in found] + oracle.leftovers(home)


def run_in(mount, gold, pages):
    """Run a whole drain that has so many *pages* left, and the next ones with space again."""
    home, effects = gold.copy(mount / "case")
    outside = str(Path(gold.folder) / f"full-{os.getpid()}.effects")
    shutil.move(effects, outside)
    config = home / "resumed.toml"
    config.write_text(config.read_text().replace('reserve = "1M"', "reserve = 0"))
    fill(mount, pages)
    status, _ = stage.drain(home, outside)
    (mount / "filler").unlink()
    faults = ["the run hangs: refused"] if status == stage.HUNG else []
    before, past = len(sweeps.effects_of(outside)), sweeps.recorded_done(home, outside)
    faults += sweeps.recover(home, outside)
    if not faults:
        faults = sweeps.judge_end(home, outside, gold.tokens, crashes=1, before=before, past=past)
    for left in Path(gold.folder).glob(f"full-{os.getpid()}.effects*"):
        left.unlink()
    return status not in sweeps.FINE, faults
