"""Damage the journal of a home with a past, repair it, start, and judge what became of the files.

A repair may put on hold what it cannot know, but nothing gets lost, nothing runs again of which
done was recorded, and nothing is called done that was not: the world outside knows.
"""

import os
import shutil
import time
from itertools import islice
from pathlib import Path

import crew
import damage
import oracle
import sweeps


def cases(gold, flips_step):
    """List the numbers of all ways to damage the gold home's journal."""
    content = (gold.home / "state" / "journal.jsonl").read_bytes()
    return [(number, flips_step) for number, _ in enumerate(damage.cases(content, flips_step))]


def run(gold, folder, numbers, *, processes=2, until=None):
    """Judge all; damage that needs no repair, because it is a crash's, is no case."""
    row, begun = sweeps.Row("journal repair, then a start"), time.monotonic()

    def judge(turn, case):
        return judge_repair(gold, Path(folder) / f"repair-{os.getpid()}-{turn}", *case)

    options = {"processes": processes, "until": until, "prepare": sweeps.planting("")}
    for case, answer in crew.play(numbers, judge, **options):
        what, happened, faults = answer or (str(case), True, [crew.HANGS])
        if happened or faults:
            row.add(what, happened, faults)
    row.seconds = time.monotonic() - begun
    return row


def judge_repair(gold, folder, number, flips_step):
    """Repair one; return what was damaged, whether it needed that, and what was wrong then."""
    from resumed import salvage
    from resumed.paths import Paths

    home, effects = gold.copy(folder)
    paths = Paths.below(home, home / "state")
    content = paths.journal.read_bytes()
    every = damage.cases(content, flips_step)
    what, damaged = next(islice(every, number, None), ("nothing", content))
    past, before = sweeps.recorded_done(home, effects), len(sweeps.effects_of(effects))
    paths.journal.write_bytes(damaged)
    needed = salvage.examine(paths.journal).corrupt
    faults = []
    if needed:
        salvage.repair(paths, "feedbeef", time.time())
        kept = [each.read_bytes() for each in paths.state.glob("journal.broken-*")]
        faults += [] if kept == [damaged] else ["SILENT: the damaged journal was not kept"]
        faults += sweeps.recover(home, effects)
        if not faults:
            faults = judge_after(home, effects, gold.tokens, before, past)
    shutil.rmtree(folder)
    return what, needed, faults


def judge_after(home, effects, tokens, before, past):
    """Judge what holds after any repair, however little of the journal was left."""
    seen, lines = oracle.look(home), sweeps.effects_of(effects)
    faults = seen.faults + oracle.tokens_lost_or_doubled(seen, tokens)
    ended = {line[1] for line in lines if line[0] == "end"}
    for token, (place, *_) in seen.files.items():
        name = f"reduce-{os.path.basename(place)}" if sweeps.parts_of(token) else token.strip()
        if place.startswith("done/") and name not in ended:
            faults.append(f"SILENT: {place} was called done and never was")
    for word, token, *_ in lines[before:]:
        if word == "begin" and token in past:
            faults.append(f"{token} ran again although done was recorded")
    return faults
