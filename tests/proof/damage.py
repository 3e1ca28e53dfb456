"""Damage a journal in every way and let the program open it: refused, or torn, or harmless.

Everything happens in one forked child, on one file. The truth is what the undamaged journal
adds up to, seen by `oracle`, which shares no code with the program.
"""

# ruff: noqa: PLR0913 - a sweep has many knobs

import os
import random
import shutil
import time
from pathlib import Path

import oracle
import planted
import stage
import sweeps


def cases(content, flips_step=1):
    """Yield (what, the damaged bytes)."""
    lines = content.splitlines(keepends=True)
    for at in range(0, len(content) * 8, flips_step):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        yield f"bit {at % 8} of byte {at // 8} flipped", bytes(damaged)
    for at in range(0, len(content), max(1, flips_step // 8)):
        yield f"cut at byte {at}", content[:at]
    stale = [line.replace(b'"n"', b'"N"') for line in lines]
    for at, line in enumerate(lines):
        before, after = lines[:at], lines[at + 1 :]
        for what, changed in (
            ("dropped", before + after),
            ("doubled", [*before, line, line, *after]),
            ("zeroed", [*before, bytes(len(line)), *after]),
            ("zeroed but for its end", [*before, bytes(len(line) - 1) + b"\n", *after]),
            ("stale", [*before, stale[at], *after]),
            ("swapped", [*before, *after[:1], line, *after[1:]]),
            ("preceded by an empty line", [*before, b"\n", line, *after]),
            ("followed by garbage", [*before, line, b"\xff" * 700, *after]),
        ):
            if b"".join(changed) != content:
                yield f"line {at + 1} {what}", b"".join(changed)
    for what, changed in (
        ("empty", b""),
        ("all zeros", bytes(len(content))),
        ("an empty page behind", content + bytes(4096)),
        ("a huge tail", content + b"x" * (3 << 20)),
        ("twice itself", content + content),
    ):
        yield what, changed


def journal_with_groups(home, effects):
    """Make a journal of several groups, the last one open, as a kill leaves it."""
    from resumed.recorder import Recorder
    from resumed.settings import Paths

    del effects
    paths = Paths.below(home, home / "state")
    book = Recorder(paths, lambda: 1763812800.0, lambda _: 7)
    claim = {"size": 1, "mtime_ns": 1, "owner": 0}
    for turn in range(4):
        book.record("claimed", id=f"i{turn}", name=f"f{turn}", inode=turn, **claim)
        book.record("started", id=f"i{turn}", attempt=1)
        book.commit()
        book.record("stepped", id=f"i{turn}", step="one", result=[turn])
        book.commit()
        if turn % 2:
            book.record("done", id=f"i{turn}", attempt=1, result=None, seconds=0)
            book.commit()
    book._journal.write()


def run(gold, folder, *, bug="", flips_step=1, limit=None, seed=1):
    """Judge all damage; a case is silent when the damaged journal adds up to something else."""
    del gold
    shutil.rmtree(Path(folder) / "damaged", ignore_errors=True)
    home = stage.make(Path(folder) / "damaged")
    (home / "state" / "history").mkdir()
    reader, writer = os.pipe()
    begun = time.monotonic()
    if not os.fork():
        os.close(reader)
        try:
            answer = _judge_all(home, bug, flips_step, limit, seed)
        except BaseException as error:  # noqa: BLE001
            answer = f"0 0\nthe harness stumbled: {error!r}"
        with os.fdopen(writer, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        first, *faults = pipe.read().splitlines()
    os.wait()
    row = sweeps.Row("journal damage")
    row.cases, row.refused_rightly = map(int, first.split())
    row.happened = row.cases
    for each in faults:
        fault = each.partition(": ")[2]
        row.faults[sweeps.kind_of(fault)] += 1
        row.examples.setdefault(sweeps.kind_of(fault), each)
    row.seconds = time.monotonic() - begun
    return row


def _judge_all(home, bug, flips_step, limit, seed):
    path = home / "state" / "journal.jsonl"
    journal_with_groups(home, None)
    content = path.read_bytes()
    truth = summed(home)
    if bug:
        planted.BUGS[bug]()
    every = list(cases(content, flips_step))
    if limit and len(every) > limit:
        every = random.Random(seed).sample(every, limit)
    faults, refused = [], 0
    for what, damaged in every:
        path.write_bytes(damaged)
        found, fault = _open(home, damaged)
        refused += found == "refused"
        if found == "refused" and damaged.startswith(proved_part(content)):
            fault = "refused, although only what nobody was told of is damaged"
        if fault is None and found == "opened":
            fault = lost(truth, summed(home), damaged, content)
        if fault:
            faults.append(f"{what}: {fault}")
        for left in [*(home / "state").glob("journal*"), *(home / "state/history").glob("*")]:
            left.unlink()
    return "\n".join([f"{len(every)} {refused}", *faults])


def proved_part(content):
    """Return the lines of which a later line says that they were on the disk."""
    lines = content.splitlines(keepends=True)
    proved = max(oracle.parse(line)["s"] for line in lines)
    return b"".join(lines[:proved])


def _open(home, damaged):
    from resumed.errors import JournalError
    from resumed.recorder import Recorder
    from resumed.settings import Paths

    paths = Paths.below(home, home / "state")
    try:
        book = Recorder(paths, lambda: 1763812801.0, lambda _: 9)
    except JournalError:
        if paths.journal.read_bytes() != damaged:
            return "refused", "SILENT: a refused journal was changed"
        return "refused", None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no refusal
        return "broken", f"ended by {error!r}"
    book.close()
    return "opened", None


def summed(home):
    """Add a journal up, by the oracle: what is claimed, started, stepped and done."""
    seen = oracle.look(home)
    return {
        item.id: (item.name, item.state == "done", tuple(item.steps))
        for item in seen.items.values()
    } | ({"faults": seen.faults} if seen.faults else {})


def lost(truth, found, damaged, content):
    """Say what of the synced truth an opened journal lacks; a cut journal cannot know more."""
    if found == truth or content.startswith(damaged):
        return None
    if damaged.startswith(proved_part(content)):
        return None  # only what nobody was told of
    return f"SILENT: adds up to something else, {len(found)} items"
