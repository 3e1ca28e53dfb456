"""Judge a home by what lies in it: the journal's lines and the folders, and nothing of ours.

This reader shares no code with the program that it judges. A *token* is the unique first line
of every file that was ever dropped, so a file is known wherever it is and however it is called.
"""

import json
import os
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PLACES = ("inbox", "active", "hold", "done", "failed")
LEFTOVER = re.compile(r"^\.resumed-|\.new$|\.work$|\.from$")
OURS = re.compile(r"\.failure\.txt$|^\.lock$")


@dataclass
class Item:
    """What the records say of one item."""

    id: str
    name: str
    state: str = "pending"
    attempts: int = 0
    steps: dict = field(default_factory=dict)
    kept: str | None = None


@dataclass
class Findings:
    """What is in a home. *faults* are in words; none is what everybody hopes for."""

    faults: list = field(default_factory=list)
    items: dict = field(default_factory=dict)
    records: list = field(default_factory=list)
    files: dict = field(default_factory=dict)


def parse(line: bytes) -> dict | None:
    """Read one line as the specification in the journal's docstring has it."""
    found = re.fullmatch(rb'(\{"n":.*),"crc":"([0-9a-f]{8})"\}\n', line, re.DOTALL)
    if not found or zlib.crc32(found[1]) != int(found[2], 16):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def look(home: Path) -> Findings:
    """Read everything; judge what can be judged without knowing what happened."""
    seen = Findings()
    _read_journal(home, seen)
    _read_folders(home, seen)
    return seen


def _read_journal(home: Path, seen: Findings) -> None:
    path = home / "state" / "journal.jsonl"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        seen.faults.append("no journal")
        return
    live = []
    for number, line in enumerate(lines, start=1):
        record = parse(line)
        if record is None or record["n"] != number or (live and record["g"] != live[0]["g"]):
            seen.faults.append(f"journal line {number} is bad")
            return
        live.append(record)
    for record in live:
        _fold(seen.items, record, seen.faults)
    known = set()
    for file in sorted((home / "state" / "history").glob("*.jsonl")):
        for line in file.read_bytes().splitlines(keepends=True):
            record = parse(line)
            if record is not None and (record["g"], record["n"]) not in known:
                known.add((record["g"], record["n"]))
                seen.records.append(record)
    seen.records += [
        each for each in live if each["n"] > each["s"] and (each["g"], each["n"]) not in known
    ]
    done = [each["id"] for each in seen.records if each["kind"] == "done"]
    seen.faults += [f"done recorded twice: {i}" for i in sorted(set(done)) if done.count(i) > 1]


def _fold(items: dict, record: dict, faults: list) -> None:
    kind, item_id = record["kind"], record.get("id")
    if kind == "claimed":
        item = items.setdefault(item_id, Item(item_id, record["name"]))
        item.state = "pending"
        item.attempts = max(item.attempts, record.get("attempts", 0))
        if record.get("changed"):
            item.steps = {}
        return
    if item_id is None:
        return
    item = items.get(item_id)
    if item is None:
        faults.append(f"{kind} of an item that nobody claimed: {item_id}")
    elif kind == "stepped":
        item.steps[record["step"]] = record["result"]
    elif kind == "gone":
        del items[item_id]
    elif kind == "put_away":
        item.kept = record["as"]
        if item.state in ("done", "removed"):
            del items[item_id]
    else:
        if record.get("attempt", item.attempts) < item.attempts:
            faults.append(f"attempts of {item.name} went down")
        item.attempts = max(item.attempts, record.get("attempt", 0))
        item.state = {
            "started": "running",
            "interrupted": "pending",
            "crashed": "pending",
            "retried": "pending",
            "released": "pending",
        }.get(kind, kind)


def _read_folders(home: Path, seen: Findings) -> None:
    for place in PLACES:
        for folder, _, names in os.walk(home / place):
            for name in names:
                path = Path(folder, name)
                if not path.is_file() or OURS.search(name):
                    continue
                token = path.read_bytes().decode(errors="replace")
                if place == "failed" and LEFTOVER.search(name) and token.startswith("\0"):
                    continue  # of a note, no more is there than could be told from a file
                seen.files.setdefault(token, []).append(str(path.relative_to(home)))


def tokens_lost_or_doubled(seen: Findings, tokens: set) -> list:
    """Compare the files with the *tokens* of all that were dropped."""
    faults = [f"LOST {each.strip()}" for each in sorted(tokens - seen.files.keys())]
    faults += [
        f"INVENTED or changed {each[:20]!r} in {seen.files[each]}"
        for each in sorted(seen.files.keys() - tokens)
    ]
    for token, places in sorted(seen.files.items()):
        if len(places) > 1:
            faults.append(f"DOUBLED {token.strip()}: {places}")
    return faults


def leftovers(home: Path, opened: frozenset = frozenset()) -> list:
    """Name what a finished run should have cleaned up; *opened* jobs keep a folder for work."""
    found = []
    mine = {f"{each}.work" for each in opened}
    for folder, folders, names in os.walk(home):
        paths = (os.path.join(folder, each) for each in {*folders, *names} - mine)
        left = [each for each in paths if LEFTOVER.search(os.path.basename(each))]
        found += [
            f"left over: {os.path.relpath(each, home)}"
            for each in left
            if not (os.path.isfile(each) and Path(each).read_bytes().startswith(b"\0"))
        ]
    return found


def job_records(home: Path) -> list:
    """Read the sound records of all jobs' journals, open or archived, each with its file."""
    found = []
    for path in sorted((home / "state" / "jobs").rglob("*.jsonl")):
        records = map(parse, path.read_bytes().splitlines(keepends=True))
        found += [(path, each) for each in records if each]
    return found


def judge_jobs(home: Path, seen: Findings, ends: dict) -> list:
    """Judge jobs after a recovery: *ends* tells how a part whose id begins so must end.

    Those are judged whose claim was recorded; of another one, whose file is still in the inbox
    after a power cut, there may be a torn journal on the shelf. A journal of a job lies in one
    place, every line of it is sound, each part of it is done once, and a job all of whose parts
    are done was reduced once.
    """
    faults, jobs = [], {}
    claimed = {each["id"] for each in seen.records if each["kind"] == "claimed"} | {*seen.items}
    for path in sorted((home / "state" / "jobs").rglob("*.jsonl")):
        if path.stem not in claimed:
            continue
        lines = path.read_bytes().splitlines(keepends=True)
        records = [parse(line) for line in lines]
        if None in records or [each["n"] for each in records] != list(range(1, len(lines) + 1)):
            faults.append(f"job journal {path.name} is bad")
        elif jobs.setdefault(path.name, records) is not records:
            faults.append(f"DOUBLED job journal {path.name}")
    for name, records in jobs.items():
        faults += _judge_job(name, records, ends)
    return faults


def _judge_job(name: str, records: list, ends: dict) -> list:
    told = Counter((each["kind"], each.get("part")) for each in records)
    last = {
        each["part"]: each["kind"]
        for each in records
        if each.get("part") and each["kind"] in ("done", "waiting", "failed")
    }
    faults = [
        f"{kind} of {part or name} recorded twice"
        for (kind, part), count in told.items()
        if kind in ("done", "reduced") and count > 1
    ]
    for part, kind in last.items():
        wanted = ends.get(part.rstrip("0123456789"), kind)
        if kind != wanted:
            faults.append(f"part {part} is {kind}, not {wanted}")
    if set(last.values()) == {"done"} and not told["reduced", None]:
        faults.append(f"LOST the reduce of {name}")
    return faults
