"""Kill the daemon at 50 random moments and let an oracle of the test's own say what happened.

The handler tells the oracle what it does, one line each, in one file that the kernel
appends to; so the order of the lines is the order of the facts, whatever dies. No cgroup
helps: a worker of a killed daemon must find out by itself.
"""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

FILES = 500
KILLS = 50
WORKERS = 3
LONGEST_START_SECONDS = 0.8
LONGEST_WORK_SECONDS = 0.4

CONFIG = f"""
handler = "handler:process"
workers = {WORKERS}
settle = 0
max_crashes = {KILLS + 1}
"""

HANDLER = """
import fcntl, os, time
from resumed import PermanentError

ORACLE = os.environ["ORACLE"]


def tell(*words):
    line = " ".join(map(str, words)) + chr(10)
    log = os.open(ORACLE + "/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, line.encode())
    os.close(log)


def process(item):
    alone = os.open(f"{ORACLE}/{item.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("overlap", item.name, item.attempt)
    tell("begin", item.name, item.attempt)
    try:
        results = [item.step(step, work, item, step) for step in ("first", "second")]
        assert results == ["first of " + item.name, "second of " + item.name]
        if item.name.endswith("7.bad"):
            raise PermanentError("a bad file")
    finally:
        tell("end", item.name, item.attempt)
        os.close(alone)


def work(item, step):
    tell("step", item.name, item.attempt, step)
    time.sleep(0.015)
    return f"{step} of {item.name}"
"""


@dataclass(frozen=True)
class Seen:
    """What the journal held at a kill, and how much the oracle had heard by then."""

    heard: int
    steps: frozenset[tuple[str, str]]
    attempts: frozenset[tuple[str, int]]


def name_of(number: int) -> str:
    return f"{number:03}.{'bad' if number % 50 == 7 else 'txt'}"


def drop(inbox: Path, numbers: range) -> None:
    for number in numbers:
        hidden = inbox / f".{number}.tmp"
        hidden.write_text(f"the text of {number}\n")
        hidden.rename(inbox / name_of(number))


def live(process, chance: random.Random, kill: int) -> None:
    """Wait for a random moment: of the start, or of the work after it, in turn."""
    if kill % 2:
        process.wait_until_ready()
    time.sleep(chance.uniform(0, LONGEST_WORK_SECONDS if kill % 2 else LONGEST_START_SECONDS))


def journal_now(home, heard: int) -> Seen:
    """Read the facts that a kill left: a killed process takes nothing from the page cache."""
    names, steps, attempts = {}, set(), set()
    # After a kill the last line may be half a line; nobody was told of it.
    for line in home.journal.read_bytes().split(b"\n")[:-1]:
        record = json.loads(line)
        if "id" in record and "name" in record:
            names[record["id"]] = record["name"]
        if record["kind"] == "stepped":
            steps.add((names[record["id"]], record["step"]))
        if record["kind"] == "started":
            attempts.add((names[record["id"]], record["attempt"]))
    return Seen(heard, frozenset(steps), frozenset(attempts))


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("untraced")
def test_fifty_kills_cost_attempts_and_nothing_else(home, daemon, tmp_path, wait_until):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    oracle = tmp_path / "oracle"
    oracle.mkdir()
    log = oracle / "log"
    log.touch()
    home.configure(CONFIG, handler=HANDLER)
    half = FILES // 2
    share = (FILES - half) // KILLS
    drop(home.inbox, range(half))

    seen = []
    in_the_middle = 0
    for kill in range(KILLS):
        process = daemon.start(ORACLE=str(oracle))
        drop(home.inbox, range(half + kill * share, half + (kill + 1) * share))
        live(process, chance, kill)
        assert process.process.poll() is None, process.tail()
        assert home.ended() < FILES
        process.kill()
        heard = log.read_text().splitlines()
        begun = Counter(line.split()[0] for line in heard)
        in_the_middle += begun["begin"] > begun["end"]
        if home.journal.exists():
            seen.append(journal_now(home, len(heard)))
    last = daemon(ORACLE=str(oracle))
    wait_until(lambda: home.ended() == FILES, 120, what=last.tail)
    assert last.stop() == 0
    seen.append(journal_now(home, len(log.read_text().splitlines())))

    expected = {name_of(number): f"the text of {number}\n" for number in range(FILES)}
    bad = {name for name in expected if name.endswith(".bad")}
    assert set(home.names("failed")) == bad
    assert set(home.names("done")) == set(expected) - bad
    assert not home.names("inbox")
    assert all(
        (home.path / folder / name).read_text() == text
        for name, text in expected.items()
        for folder in ["failed" if name in bad else "done"]
    )
    judge([line.split() for line in log.read_text().splitlines()], seen)
    assert in_the_middle >= KILLS // 4


def judge(lines: list[list[str]], seen: list[Seen]) -> None:
    """Hold what the handlers told against what the journal held."""
    told = Counter(words[0] for words in lines)
    begun = [(name, int(attempt)) for what, name, attempt, *_ in lines if what == "begin"]

    assert told["overlap"] == 0, "an item ran twice at the same time"
    assert max(Counter(begun).values()) == 1, "an attempt's number was used twice"
    assert {name for name, _ in begun} == {name_of(number) for number in range(FILES)}
    assert set(begun) <= frozenset().union(*(each.attempts for each in seen)), "uncounted"
    assert told["begin"] - told["end"] <= WORKERS * KILLS, "a kill cost more than was in hand"
    for each in seen:
        repeated = {
            (words[1], words[3]) for words in lines[each.heard :] if words[0] == "step"
        } & each.steps
        assert not repeated, "a recorded step ran again"
