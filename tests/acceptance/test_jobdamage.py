"""Damage the journal of a job: it is refused, named, left alone, and repaired on demand."""

import json

import pytest

CONFIG = """
handler = "handler:process"
settle = 0
[job]
match = ["*.jsonl"]
id = "id"
reduce = "handler:reduce"
"""

HANDLER = """
from pathlib import Path

HERE = Path(__file__).parent


def process(item):
    with (HERE / "ran").open("a") as file:
        print(item.part_id, file=file)
    if item.part_id == "x" and not (HERE / "calm").exists():
        raise ValueError("a bad row")


def reduce(job):
    return sorted(part for part, _ in job.results())
"""


@pytest.fixture
def journal(home, drain):
    """Bring about a failed job with three parts done, and name its journal."""
    home.configure(CONFIG, handler=HANDLER)
    rows = [{"id": each} for each in "abcx"]
    (home.inbox / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drain()
    assert home.names("failed") == ["a.jsonl"]
    (home.path / "calm").touch()
    (home.path / "ran").unlink()
    (path,) = home.state.glob("jobs/*.jsonl")
    return path


def spoil(path, part):
    """Damage the record that tells that *part* is done."""
    lines = path.read_bytes().splitlines(keepends=True)
    wanted = f'"kind":"done","part":"{part}"'.encode()
    at = next(n for n, line in enumerate(lines) if wanted in line)
    lines[at] = lines[at].replace(b'"done"', b'"dome"')
    path.write_bytes(b"".join(lines))
    return at + 1


def ran(home):
    path = home.path / "ran"
    return path.read_text().split() if path.exists() else []


def test_a_damaged_journal_of_a_job_ends_the_start_with_78_and_is_left_as_it_was(
    home, drain, journal
):
    line = spoil(journal, "b")
    before = journal.read_bytes()
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")

    ended = drain()

    assert ended.returncode == 78
    assert f"{journal}:{line}: " in ended.stderr
    assert "journal repair" in ended.stderr or "then 'repair'" in ended.stderr
    assert journal.read_bytes() == before
    assert ran(home) == []


def test_a_missing_journal_of_a_job_is_not_begun_anew(home, drain, ctl, journal):
    journal.unlink()
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")

    ended = drain()

    assert ended.returncode == 78
    assert f"{journal}:0: is missing, but was here before" in ended.stderr
    assert ran(home) == []
    assert "missing" in ctl("journal", "check", status=78).stdout
    ctl("journal", "repair")
    drain()
    assert "journal was damaged" in (home.failed / "a.jsonl.failure.txt").read_text()
    assert ran(home) == []


def test_a_retry_of_a_job_with_a_damaged_journal_is_refused_and_the_daemon_goes_on(
    home, daemon, ctl, wait_until, journal
):
    spoil(journal, "b")
    process = daemon()

    said = ctl("retry", "a.jsonl", status=1).stdout
    (home.inbox / "item.txt").write_text("no job")
    wait_until((home.done / "item.txt").exists, what=process.tail)

    assert str(journal) in said
    assert "journal check" in said
    assert process.stop() == 0


def test_a_repair_saves_what_is_certain_and_a_retry_runs_the_rest(home, drain, ctl, journal):
    line = spoil(journal, "b")
    spoilt = journal.read_bytes()

    checked = ctl("journal", "check", status=78).stdout
    documents = [
        json.loads(each)
        for each in ctl("journal", "check", "--json", status=78).stdout.splitlines()
    ]
    repaired = ctl("journal", "repair").stdout
    assert "clean" in ctl("journal", "check").stdout
    drain()
    assert ran(home) == []
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    drain()

    assert f"{journal}:{line}: at byte" in checked
    assert [each["state"] for each in documents] == ["clean", "corrupt"]
    (broken,) = journal.parent.glob("*.broken-*")
    assert str(broken) in repaired
    assert broken.read_bytes() == spoilt
    assert sorted(ran(home)) == ["b", "x"]
    assert "a.jsonl" in home.names("done")


def test_a_repaired_job_that_lay_in_failed_goes_on_when_its_file_is_moved_back(
    home, drain, ctl, journal
):
    spoil(journal, "b")
    assert "its job is in failed/" in ctl("journal", "repair").stdout

    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    drain()

    assert sorted(ran(home)) == ["b", "x"]
    assert "a.jsonl" in home.names("done")


def test_a_job_that_was_moved_back_before_its_repair_is_set_aside_once(home, drain, ctl, journal):
    spoil(journal, "b")
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    assert drain().returncode == 78
    assert "its job goes to failed/" in ctl("journal", "repair").stdout

    drain()
    assert "was damaged" in (home.failed / "a.jsonl.failure.txt").read_text()
    assert ran(home) == []
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    drain()

    assert sorted(ran(home)) == ["b", "x"]
