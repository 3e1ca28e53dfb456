"""Ask for everything that can be asked, break the run that does it, and judge what came of it.

The gold home of the other sweeps has few requests. In this one each verb is asked for, of items
and of jobs, nobody answered yet, and somebody else's files have the names that ours would get
in ``done/``, ``failed/`` and ``hold/``. Whatever breaks the run, each wish comes true once.
"""

import re
import shutil
from collections import Counter
from pathlib import Path

import oracle
import stage
import sweeps

MENDED = stage.job("done9", "new9")
THEIRS = {
    "failed/bad2": "theirs1\n",
    "failed/bad2.failure.txt": "theirs2\n",
    "hold/wait1": "theirs3\n",
    "done/new1": "theirs4\n",
}
# Where each file is in the end, and what the journal says of it then; None: it is forgotten.
ENDS = {
    "bad2\n": (r"failed/bad2~ID", "failed"),
    "mend1\n": (r"done/mend1", None),
    "wait1\n": (r"hold/wait1~ID", "held"),
    "wait5\n": (r"active/ID/wait5", "waiting"),
    "hold1\n": (r"active/ID/hold1", "waiting"),
    "new1\n": (r"done/new1~ID", None),
    stage.job("done8", "wait8"): (r"failed/can1\.jsonl", "failed"),
    stage.job("done9", "bad9"): (r"done/fail1~ID\.jsonl", None),
    MENDED: (r"done/fail1\.jsonl", None),
} | {content: (re.escape(path), None) for path, content in THEIRS.items() if "txt" not in path}
REMOVED = ("bad1", "wait3", "hold3")
PART_ENDS = {"done": "done", "new": "done"}
ID = re.compile(r"[0-9a-f]{11}-[0-9a-f]{10}")


class Gold(stage.Gold):
    """A home in which everything is asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.home = stage.make(Path(folder) / "wishes")
        self.effects = str(Path(folder) / "wishes.effects")
        for name in ("bad1", "mend1", "wait1", "wait3", "wait5", "hold1", "hold3"):
            stage.drop(self.home, name)
        self.drop_job("can1.jsonl", stage.job("done8", "wait8"))
        self.drop_job("fail1.jsonl", stage.job("done9", "bad9"))
        self._run(1)
        self.ids = stage.ids_in(self.home)
        for name in ("hold1", "hold3"):
            self.ask("hold", name)
        self._run(0)
        for verb, name in (
            ("remove", "bad1"), ("hold", "wait1"), ("remove", "wait3"), ("retry", "wait5"),
            ("release", "hold1"), ("remove", "hold3"), ("cancel", "can1.jsonl"),
        ):  # fmt: skip
            self.ask(verb, name)
        self.ask("retry", "mend1", fresh=True)
        (self.home / "inbox" / ".resumed-0123456789abcdef").write_text(MENDED)
        self.ask("retry", "fail1.jsonl", **{"with": ".resumed-0123456789abcdef"})
        for path, content in THEIRS.items():
            (self.home / path).write_text(content)
        for name in ("new1", "bad2"):
            stage.drop(self.home, name)
        self.tokens = {*ENDS}
        self.requests = {each.name for each in (self.home / "state/requests").iterdir()}
        self.copy = stage.Scene(self.home, self.effects).copy

    def drop_job(self, name, content):
        hidden = self.home / "inbox" / f".{name}.part"
        hidden.write_text(content)
        hidden.rename(self.home / "inbox" / name)

    def ask(self, verb, name, **options):
        stage.ask(self.home, verb, self.ids[name], **options)

    def judge(self, home, effects, *, crashes, before, past):
        """Judge a home in which everything was done, at last."""
        seen = oracle.look(home)
        faults = seen.faults + oracle.tokens_lost_or_doubled(seen, self.tokens)
        opened = frozenset(each.id for each in seen.items.values() if each.state == "job_opened")
        faults += oracle.leftovers(home, opened)
        faults += self.judge_places(home, seen) + self.judge_answers(seen)
        faults += oracle.judge_jobs(home, seen, PART_ENDS)
        done = {token for token, (place, _) in ENDS.items() if place.startswith("done/")}
        done = {each for each in done if sweeps.kind(each) in sweeps.END}
        lines = sweeps.effects_of(effects)
        reduced = [line for line in lines if line[:2] == ["end", "reduce-fail1.jsonl"]]
        if any(line[2:] != ["done9", "new9"] for line in reduced) or not reduced:
            faults.append(f"LOST a part: {reduced}")
        lines = [line for line in lines if line not in reduced]
        return faults + sweeps.judge_effects(lines, done, crashes, before, past)

    def judge_places(self, home, seen):
        states = {ID.sub("ID", each.name): each.state for each in seen.items.values()}
        faults = []
        for token, (place, state) in ENDS.items():
            found = [ID.sub("ID", each) for each in seen.files.get(token, [])]
            if not all(re.fullmatch(place, each) for each in found):
                faults.append(f"{token.strip()} ended in {found}, not in {place}")
            name = re.sub(r"~ID|\\", "", place).rpartition("/")[2]
            if state and states.get(name) != state:
                faults.append(f"{name} is {states.get(name)} in the journal, not {state}")
        wanted = {
            each.rpartition("/")[2].replace("~ID", "").replace("\\", "")
            for each, state in ENDS.values()
            if state
        }
        faults += [f"the journal still has {each}" for each in states.keys() - wanted]
        if (home / "failed/bad2.failure.txt").read_text() != THEIRS["failed/bad2.failure.txt"]:
            faults.append("LOST somebody's own words")
        notes = {ID.sub("ID", each.name) for each in (home / "failed").glob("*.failure.txt")}
        notes ^= {"bad2.failure.txt", "bad2~ID.failure.txt", "can1.jsonl.failure.txt"}
        return faults + [f"the note {each} is missing, or left" for each in notes]

    def judge_answers(self, seen):
        answers = [each for each in seen.records if each["kind"] == "answered"]
        told = Counter(each["request"] for each in answers)
        faults = [f"{each} was answered twice" for each, count in told.items() if count > 1]
        return faults + [f"LOST the answer to {each}" for each in self.requests - told.keys()]


def judge_case(gold, folder, case):
    """Break one run that does what was asked; judge what the next ones make of it."""
    home, effects = gold.copy(folder)
    number = getattr(sweeps.errno, case.error or "EIO")
    plan = stage.Faults(home, case.at, case.how, case.cut, number)
    status, answer = stage.drain(home, effects, plan, report=stage.Faults.report)
    happened = status == stage.KILLED or bool(answer and answer[0])
    before, past = len(sweeps.effects_of(effects)), sweeps.recorded_done(home, effects)
    faults = ["the run hangs: refused"] if status == stage.HUNG else []
    faults += [f"the run ended by {sweeps.said(effects)}"] if status == 99 else []
    faults += sweeps.recover(home, effects)
    if not any("refused" in each for each in faults):
        faults += gold.judge(home, effects, crashes=1, before=before, past=past)
    shutil.rmtree(folder)
    return happened, faults
