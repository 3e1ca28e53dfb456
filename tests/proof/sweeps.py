"""Break one run in every way of one kind, let the next ones recover, and judge.

Each sweep yields cases; `judge_case` plays one in a copy of the gold home. A case that did not
bring about its fault is a finding of its own: a sweep that is green because nothing happened
proves nothing.
"""

# ruff: noqa: PLR0913 - a sweep has many knobs

import errno
import json
import os
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import crew
import oracle
import planted
import stage

FINE = (0, 1)
JOURNAL = re.compile(r"state/(journal|jobs/[^/.]*)\.jsonl")
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "EACCES", "EINTR")
READING = ("open", "stat", "fstat", "read")
LOOKING_ERRORS = ("EIO", "EACCES", "ENOMEM", "EMFILE")
END = {
    "done": "done",
    "new": "done",
    "mend": "done",
    "bad": "failed",
    "hold": "hold",
    "job": "done",
    "open": "active",
}
PART_ENDS = {"new": "done", "mend": "done", "wait": "waiting"}
STATES = {"bad": "failed", "hold": "held", "wait": "waiting", "open": "job_opened"}


@dataclass(frozen=True)
class Case:
    """One fault; *second* is the fault of the recovery."""

    how: str
    at: int
    call: str = ""
    cut: int = 0
    error: str = ""
    second: int = 0
    place: str = ""

    def __str__(self):
        parts = [self.how, f"#{self.at}", self.call, self.error]
        parts += [f"after {self.cut} bytes"] if self.cut else []
        parts += [f"then kill #{self.second}"] if self.second else []
        return " ".join(filter(None, parts))


@dataclass(frozen=True)
class Tears:
    """One write, and the bytes of it after which the program dies."""

    at: int
    cuts: tuple
    place: str = ""
    how: str = "tear"
    call: str = "write"
    error: str = ""

    def __str__(self):
        return f"tear write #{self.at} of {self.place}"


@dataclass
class Row:
    """One line of the table."""

    sweep: str
    cases: int = 0
    happened: int = 0
    seconds: float = 0.0
    known: int = 0
    skipped: bool = False
    faults: Counter = field(default_factory=Counter)
    examples: dict = field(default_factory=dict)

    def add(self, case, happened, faults):
        self.cases += 1
        self.happened += happened
        for kind in {kind_of(each) for each in faults}:
            self.faults[kind] += 1
        for each in faults:
            self.examples.setdefault(kind_of(each), f"{case}: {each}")

    @property
    def bad(self):
        return sum(self.faults.values())


def kind_of(fault):
    """Sort a fault into a column."""
    for word, kind in (
        ("LOST", "lost"),
        ("DOUBLED", "doubled"),
        ("again", "doubled"),
        ("twice", "doubled"),
        ("refused", "refused"),
        ("SILENT", "silent"),
        ("did not happen", "harness"),
    ):
        if word in fault:
            return kind
    return "other"


# ------------------------------------------------------------------ judging


def kind(token):
    """Say what a file, or a part of a job, is made for."""
    if token.startswith("{"):
        return "open" if '"wait' in token else "job"
    return token.strip().rstrip("0123456789")


def parts_of(token):
    """List the parts of a job's file; of any other none."""
    return [json.loads(line)["id"] for line in token.splitlines()] if token[0] == "{" else []


def effects_of(path):
    with open(path) as file:
        return [line.split() for line in file]


def judge_end(home, effects, tokens, *, crashes, before, past, spared=frozenset(), strays=False):
    """Judge a home after its recovery. *before* are the effects' number at the last crash.

    A file from a subfolder of the inbox ends in that subfolder again, unless *strays* are fine.
    """
    seen = oracle.look(home)
    faults = seen.faults + oracle.tokens_lost_or_doubled(seen, tokens)
    jobs = frozenset(each.id for each in seen.items.values() if each.state == "job_opened")
    faults += oracle.leftovers(home, jobs)
    for token, places in seen.files.items():
        wanted = "failed" if token in spared else END.get(kind(token), "active")
        if not places[0].startswith(wanted + "/"):
            faults.append(f"{token.strip()} ended in {places[0]}, not in {wanted}/")
        elif not strays and kind(token) == "new" and places[0] == "done/new5":
            faults.append("new5 ended in done/, not in its subfolder")
    states = {}
    for item in seen.items.values():
        states.setdefault(item.state, []).append(item.name)
    for token in tokens - spared:
        wanted = STATES.get(kind(token))
        name = "open1.jsonl" if kind(token) == "open" else token.strip()
        if wanted and name not in states.get(wanted, []):
            faults.append(f"{name} is not {wanted} in the journal")
    for state in set(states) - set(STATES.values()):
        faults.append(f"the journal leaves {states[state]} {state}")
    # The parts of a job that is right to be in failed/ as a whole are what they were before.
    idle = {kind(part) for token in spared for part in parts_of(token)}
    faults += oracle.judge_jobs(home, seen, {k: v for k, v in PART_ENDS.items() if k not in idle})
    return faults + judge_effects(effects_of(effects), tokens - spared, crashes, before, past)


def judge_effects(lines, tokens, crashes, before, past):
    """Judge what the world outside has seen of the handler."""
    faults, kept = judge_ends(lines, tokens), set()
    for word, token, *rest in lines:
        if word == "kept":
            kept.add((token, rest[0]))
        elif word == "work" and (token, rest[0]) in kept:
            faults.append(f"recorded step {rest[0]} of {token} ran again")
    begun, keys = Counter(), {}
    for _, token, _, _, key in (line for line in lines if line[0] == "begin"):
        begun[token] += 1
        if keys.setdefault(token, key) != key:
            faults.append(f"{token} was begun under two keys, so it may count twice")
    faults += [
        f"{token} ran {count} times for {crashes} crashes, again and again"
        for token, count in begun.items()
        if count > 2 + crashes
    ]
    for _, token, *_ in (line for line in lines[before:] if line[0] == "begin"):
        if token in past:
            faults.append(f"{token} ran again although done was recorded")
    return faults


def judge_ends(lines, tokens):
    """Judge whether everything that was called done really was."""
    ended, faults = Counter(), []
    for _, token, *parts in (line for line in lines if line[0] == "end"):
        ended[token] += 1
        if token.startswith("reduce-") and parts != ["new7", "new8"]:
            faults.append(f"LOST a part: {token} was given {parts}")
    units = [part for token in tokens for part in parts_of(token) or [token.strip()]]
    return faults + [
        f"{token} was called done and never was"
        for token in units
        if END.get(kind(token)) == "done" and not ended[token]
    ]


def recorded_done(home, effects):
    """Name the tokens whose outcome the journal has, so far as it can be read."""
    ids = {}
    for line in effects_of(effects):
        if line[0] == "begin":
            ids[line[2]] = line[1]
    try:
        content = (home / "state" / "journal.jsonl").read_bytes()
    except FileNotFoundError:
        return set()
    records = filter(None, map(oracle.parse, content.splitlines(keepends=True)))
    done = {ids[each["id"]] for each in records if each["kind"] == "done" and each["id"] in ids}
    for _, record in oracle.job_records(home):
        if record["kind"] == "done":
            done.add(record["part"])
    return done


def said(effects):
    """Quote how the last run ended."""
    for suffix in (".trace", ".err"):
        path = Path(effects + suffix)
        if path.exists() and (text := path.read_text().strip()):
            return text.splitlines()[-1][:160]
    return ""


def recover(home, effects, runs=2):
    """Start again and again without a fault; return what went wrong."""
    for turn in range(1, runs + 1):
        Path(f"{effects}.trace").unlink(missing_ok=True)
        status = stage.here(home, effects)
        if status not in FINE:
            return [f"start {turn} refused with {status}: {said(effects)}"]
    return []


def excused(case, call, seen):
    """Name the tokens of files that are right to be in ``failed/``, which says why.

    One that is closed to us stays there; a job whose file cannot be read goes there, unless
    a shortage of ours was why.
    """
    there = {token for token, places in seen.files.items() if places[0].startswith("failed/")}
    closed = {each for each in there if case.error == "EACCES" and each == "mend1\n"}
    unread = call in READING and case.error not in ("", "EMFILE", "ENFILE")
    return closed | {each for each in there if unread and parts_of(each)}


def tokens_after(tokens, deed, met):
    """Say which files there are after a producer's deed, that may have *met* its file."""
    lost = {"new1\n"} if met and deed in ("deleted", "replaced", "written to") else set()
    added = {"new4\n"} if deed == "replaced" else set()
    added |= {"new15\n"} if deed == "written to" and met else set()
    return tokens - lost | added


def taken_while_open(effects):
    """A file that a producer opened for writing while it was in the inbox is not taken."""
    lines = effects_of(effects)
    since = lines.index(["meddled", "opened"]) if ["meddled", "opened"] in lines else len(lines)
    begun = [line for line in lines[since:] if line[:2] == ["begin", "new1"]]
    return ["SILENT: new1 began while a writer had it open"] if begun else []


def judge_case(gold, folder, case):
    """Play one case; return whether its fault happened, and what was wrong after it."""
    home, effects = gold.copy(folder)
    number = getattr(errno, case.error or "EIO")
    plan = stage.Faults(home, case.at, case.how, case.cut, number)
    status, answer = stage.drain(home, effects, plan, report=stage.Faults.report)
    planned = case.call if status == stage.KILLED else ""
    call, path, told, met = answer or (planned, case.place, [], False)
    tokens = tokens_after(gold.tokens, case.how if call else "", met)
    faults = [f"told after a failed sync: SILENT {each}" for each in told]
    faults += taken_while_open(effects) if case.how == "opened" else []
    if case.how == "error" and "sync" in call and status in FINE:
        faults.append("SILENT: went on after a failed sync")
    if case.how == "error" and call == "write" and JOURNAL.fullmatch(path) and status in FINE:
        faults.append("SILENT: went on after a failed write of a journal")
    if status == stage.HUNG:
        faults.append("the run hangs: refused")
    if status == 99:
        faults.append(f"the run ended by {said(effects)}")
    crashes = int(status not in FINE)
    happened = bool(call)
    if case.second:
        crashes += 1
        happened &= killed_again(home, effects, folder / "count", case.second)
    before, past = len(effects_of(effects)), recorded_done(home, effects)
    faults += recover(home, effects)
    if not any("refused" in each for each in faults):
        judged = {"crashes": crashes, "before": before, "past": past}
        failing = case.how in ("error", "blind")
        spared = excused(case, call, oracle.look(home)) if failing else frozenset()
        unheard = case.error == "EACCES" or case.how == "blind"
        unasked = unheard and "requests" in path  # the request is closed to us
        found = judge_end(home, effects, tokens, spared=spared, **judged)
        faults += [each for each in found if not (unasked and "mend" in each)]
        if case.how == "linked" and met:  # two names of one file are two items
            faults = [each for each in faults if "new1" not in each or "LOST" in each]
        content = (home / "state" / "journal.jsonl").read_bytes()
        if case.at % 8 == 0:
            faults += recover(home, effects, 1)
            if (home / "state" / "journal.jsonl").read_bytes() != content:
                faults.append("another start without work changes the journal")
    shutil.rmtree(folder)
    return happened, faults


def killed_again(home, effects, folder, number):
    """Kill the recovery too, before one of its own calls; tell whether that came about."""
    twin, noted = stage.Scene(home, effects).copy(folder)
    _, count = stage.drain(twin, noted, stage.Faults(twin), report=lambda it: len(it.calls))
    status, _ = stage.drain(home, effects, stage.Faults(home, number % (count or 1) + 1))
    return status == stage.KILLED


def judge_asking(gold, folder, case):
    """Kill a `resumed-ctl retry`; what it asks for is then done once, or not at all."""
    home, effects = gold.copy(folder)
    deed = stage.ask_to_retry("bad1")
    status, _ = stage.drain(home, effects, stage.Faults(home, case.at), deed=deed)
    for left in (home / "state" / "requests").glob(".resumed-*"):
        os.utime(left, (0, 0))  # a young one is left to who may be writing it
    before, past = len(effects_of(effects)), recorded_done(home, effects)
    faults = recover(home, effects)
    if not faults:
        faults = judge_end(home, effects, gold.tokens, crashes=0, before=before, past=past)
        begun = [line for line in effects_of(effects)[before:] if line[:2] == ["begin", "bad1"]]
        if len(begun) > 1:
            faults.append(f"DOUBLED: retried {len(begun)} times")
        if status == 0 and not begun:
            faults.append("LOST a request")
    shutil.rmtree(folder)
    return status == stage.KILLED, faults


def judge_torn(gold, folder, case):
    """Die within one write for real, before its last byte, and start on each earlier end of it.

    A kill leaves so many bytes of the write and nothing else, so the others are made from the
    one that was; *case* is the write's number and the ends. Return of each what was wrong.
    """
    home, effects = gold.copy(folder)
    status, answer = stage.drain(home, effects, stage.Faults(home, case.at, "tear", -1))
    if status != stage.KILLED:
        shutil.rmtree(folder)
        return [(each, False, []) for each in case.cuts]
    path, written = answer
    scene = stage.Scene(home, effects)
    content, found = scene.content(path), []
    begin = len(content) - written
    for cut in case.cuts:
        left = {path: content[: begin + min(cut, written)]}
        found.append((cut, True, judge_left(gold, scene, folder / f"{cut}", left, cut)))
    shutil.rmtree(folder)
    return found


def judge_left(gold, scene, folder, left, turn):
    """Start on what a kill *left*, and judge; every eighth *turn* starts twice."""
    home, effects = scene.copy(folder, left)
    before, past = len(effects_of(effects)), recorded_done(home, effects)
    faults = recover(home, effects, 1 + (turn % 8 == 0))
    if not faults:
        faults = judge_end(home, effects, gold.tokens, crashes=1, before=before, past=past)
    shutil.rmtree(folder)
    return faults


# ------------------------------------------------------------------ the cases


def place_of(path):
    """Say where a call is, so that calls which do the same are known as such."""
    return re.sub(r"[0-9a-f]{8,}(-[0-9a-f]{10})?", "ID", path or "")


def spread(cases, rng):
    """Put cases into an order in which the first ones differ most: each call, place, error."""
    rng.shuffle(cases)
    turns = Counter()

    def turn(case):
        kind = (case.how, case.call, case.place, case.error)
        turns[kind] += 1
        return turns[kind]

    return [case for _, _, case in sorted((turn(each), at, each) for at, each in enumerate(cases))]


def calls_of(gold, folder, *, how="kill"):
    """Play the run once without a fault and list its calls."""
    home, effects = gold.copy(folder)
    plan = stage.Faults(home, how=how)
    _, calls = stage.drain(home, effects, plan, report=lambda faults: faults.calls)
    shutil.rmtree(folder)
    return calls


def kills(calls):
    """Die before each call, and after the last."""
    return [
        Case("kill", at, call, place=place_of(path)) for at, (call, path, _) in enumerate(calls, 1)
    ]


def torn(calls, step=1, together=24):
    """Die in the middle of each write, after every *step* bytes; some cuts are one case."""
    writes = [(path, size) for call, path, size in calls if call == "write"]
    return [
        Tears(at, tuple(cuts), place_of(path))
        for at, (path, size) in enumerate(writes, 1)
        for cuts in batched(range(1, size, step), together)
    ]


def batched(numbers, count):
    return [numbers[at : at + count] for at in range(0, len(numbers), count)]


def short(calls, step=1):
    """Let each write take only so many bytes, and say so."""
    return [
        Case("short", at, call, cut, place=place_of(path))
        for at, (call, path, size) in enumerate(calls, 1)
        if call == "write"
        for cut in range(1, size, step)
    ]


def errors(calls, names=ERRORS):
    """Let each call fail with each error."""
    return [
        Case("error", at, call, error=name, place=place_of(path))
        for at, (call, path, _) in enumerate(calls, 1)
        for name in names
    ]


def looks(gold, folder):
    """Let each call that only looks at something fail."""
    return [
        Case("blind", at, call, error=name, place=place_of(path))
        for at, (call, path, _) in enumerate(calls_of(gold, folder, how="look"), 1)
        for name in LOOKING_ERRORS
        if name != "EMFILE" or call in ("open", "scandir", "listdir")
    ]


def deeds(gold, folder):
    """Let a producer do something to its file between any two calls into the system."""
    return [
        Case(deed, at, call, place=path)
        for at, (call, path, _) in enumerate(calls_of(gold, folder, how="listen"), 1)
        for deed in stage.DEEDS
    ]


def calls_of_asking(gold, folder):
    """List the calls of a `resumed-ctl retry`."""
    home, effects = gold.copy(folder)
    options = {"report": lambda faults: faults.calls, "deed": stage.ask_to_retry("bad1")}
    _, calls = stage.drain(home, effects, stage.Faults(home), **options)
    shutil.rmtree(folder)
    return calls


def pairs(calls, sample):
    """Die, and die again in the recovery."""
    count = len(calls)
    every = [(a, b) for a in range(1, count + 1) for b in range(1, count + 1)]
    return [Case("kill", a, calls[a - 1][0], second=b) for a, b in sample(every)]


# ------------------------------------------------------------------ running many


def planting(bug):
    """Make a process one of the harness, with a bug planted in it perhaps."""
    return lambda: stage.become(planted.BUGS.get(bug))


def run(name, gold, folder, cases, *, judge_one=None, bug="", processes=2, until=None, first=False):
    """Play *cases* in some processes; stop at the moment *until*, or at the *first* fault."""
    row, begun = Row(name), time.monotonic()

    def judge(number, case):
        place = Path(folder) / f"{os.getpid()}-{number}"
        try:
            if isinstance(case, Tears):
                return judge_torn(gold, place, case)
            return [(case.cut, *(judge_one or judge_case)(gold, place, case))]
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            return [(0, True, [f"the harness stumbled: {error!r}"])]

    play = crew.play(cases, judge, processes=processes, until=until, prepare=planting(bug))
    for case, answers in play:
        for cut, *answer in answers or [(0, True, [crew.HANGS])]:
            row.add(f"{case} at {cut}" if isinstance(case, Tears) else case, *answer)
        if first and row.bad:
            break
    # How often the loop turns depends on the time: a run may have a call less than planned.
    missed = row.cases - row.happened
    if missed > 1 + row.cases // 20:
        row.faults["harness"] = missed
        row.examples["harness"] = f"{missed} faults did not happen"
    row.seconds = time.monotonic() - begun
    return row
