"""Ask about jobs whose journals were written here, with no daemon there to help."""

import json
import os
import sys
import time

import pytest

from resumed import ctl, jobbook, jobview, place
from resumed.jobbook import JobBook
from resumed.records import key, mark_of

ERROR = {"kind": "builtins.ValueError", "text": "no \x1b[31mgood"}
A, B = "1a2044b0000-0000000001", "1a2044b0001-0000000002"


@pytest.fixture
def paths(home):
    home.configure('handler = "handler:process"\n[job]\nmatch = ["*.jsonl"]\nid = "id"\n')
    made = place.find(home=home.path)
    made.jobs.mkdir()
    made.requests.mkdir()
    return made


@pytest.fixture
def book(paths):
    """Begin the journal of a job."""
    books = []

    def begin(job_id, name):
        made = JobBook(paths.jobs, job_id, time.time, "00000000")
        made.record("job_opened", id=job_id, name=name, metadata={})
        books.append(made)
        return made

    yield begin
    for each in books:
        each.close()


def tell(made, kind, part, **particulars):
    about = {"part": part, "key": key(mark_of(part, "id"), 1), "attempt": 1}
    made.record(kind, **about, **particulars)


def done(made, part):
    tell(made, "done", part, seconds=0.1, result=None)


def split(made, parts):
    counts = dict.fromkeys(("bad", "merged", "new", "changed", "unchanged", "gone"), 0)
    made.record("split", parts=parts, **counts)


def end(made):
    made.record("reduced", attempt=1, key="", seconds=0.1, result={"sum": 3})
    made.commit(urgent=True)


class Said:
    def __init__(self, status, captured):
        self.status, self.out, self.err = status, captured.out, captured.err

    @property
    def documents(self):
        assert self.out.isascii()
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def say(home, monkeypatch, capsys):
    """Call the program as its entry point does."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resumed-ctl", "--home", str(home.path), *arguments])
        with pytest.raises(SystemExit) as ended:
            ctl.main()
        return Said(ended.value.code, capsys.readouterr())

    return call


def test_a_job_that_is_open_is_told_with_its_rate_and_the_time_left(book, say):
    made = book(A, "a.jsonl")
    for number in range(10):
        done(made, f"p{number}")
    tell(made, "started", "q")
    tell(made, "waiting", "w", step=None, error=ERROR, delay=60.0, output="")
    made.commit(urgent=True)

    [unsplit] = say("jobs", "ls", "--json").documents
    split(made, 30)
    made.commit(urgent=True)
    [job] = say("jobs", "ls", "--json").documents
    shown = say("jobs", "ls").out.splitlines()[1].split()

    assert (unsplit["parts"], unsplit["pending"], unsplit["seconds_left"]) == (None, None, None)
    counted = {each: job[each] for each in ("parts", "done", "running", "waiting", "pending")}
    assert counted == {"parts": 30, "done": 10, "running": 1, "waiting": 1, "pending": 18}
    assert job["rate"] > 0
    assert job["seconds_left"] >= 0
    assert shown[:7] == [A, "a.jsonl", "open", "30", "10", "0", "1"]
    assert shown[7].endswith("/s")


def test_jobs_that_are_over_are_listed_only_when_asked_for(book, say, paths):
    made = book(A, "a.jsonl")
    split(made, 0)
    end(made)
    jobbook.archive(paths.jobs, A)

    assert say("jobs", "ls").out == ""
    assert say("jobs", "ls", "--all", "--ids").out == f"{A}\n"
    [told] = say("jobs", "info", "a.jsonl", "--json").documents
    assert (told["state"], told["reduce"]["result"]) == ("done", {"sum": 3})
    assert "seconds left" not in say("jobs", "info", A).out


def test_a_job_that_is_archived_meanwhile_is_still_found(book, paths, monkeypatch):
    made = book(A, "a.jsonl")
    end(made)
    find = jobbook.find

    def archived_then(folder, job_id):
        found = find(folder, job_id)
        jobbook.archive(paths.jobs, A)
        return found

    monkeypatch.setattr(jobbook, "find", archived_then)

    assert jobview.read(paths, A).state == "done"


def test_a_name_means_the_latest_job_that_had_it(book, say):
    for job_id in (A, B):
        end(book(job_id, "a.jsonl"))

    [told] = say("jobs", "info", "a.jsonl", "--json").documents

    assert told["id"] == B


@pytest.mark.parametrize("verb", ["info", "failures", "pending"])
def test_a_job_that_nobody_knows_is_said_to_be_unknown(paths, say, verb):
    said = say("jobs", verb, "nobody.jsonl")

    assert (said.status, said.out) == (1, "")
    assert "nobody.jsonl: no job is called so" in said.err
    assert paths.jobs.is_dir()


def test_failures_are_told_as_they_stand_now(book, say):
    made = book(A, "a.jsonl")
    for part in ("x", "y"):
        tell(made, "failed", part, step=None, error=ERROR, output="")
    done(made, "y")
    made.commit(urgent=True)

    said = say("jobs", "failures", A)
    [told] = say("jobs", "failures", A, "--json").documents

    assert said.status == 0
    assert said.out.startswith("x  failed  ValueError: no \\x1b[31mgood\nagain: ")
    assert (told["part"], told["state"], told["error"]) == ("x", "failed", ERROR)
    done(made, "x")
    made.commit(urgent=True)
    none = say("jobs", "failures", A)
    assert (none.status, none.out) == (0, "")


def test_parts_that_the_file_has_no_more_count_no_more(book, say):
    made = book(A, "a.jsonl")
    tell(made, "failed", "x", step=None, error=ERROR, output="")
    done(made, "y")
    made.record("gone", keys=[key(mark_of("x", "id"), 1)])
    split(made, 1)
    end(made)

    [job] = say("jobs", "info", A, "--json").documents

    assert (job["parts"], job["done"], job["failed"], job["pending"]) == (1, 1, 0, 0)
    assert (say("jobs", "failures", A).status, say("jobs", "failures", A).out) == (0, "")


def test_info_is_for_people_and_tells_errors_in_words(book, say):
    made = book(A, "a.jsonl")
    split(made, 0)
    waiting = {"step": None, "error": ERROR, "delay": 60.0, "output": ""}
    made.record("reduce_claimed", attempt=2, key="")
    made.record("reduce_waiting", attempt=2, **waiting)
    made.commit(urgent=True)
    reducing = say("jobs", "info", A).out
    made.record("closed", error={"kind": "parts", "text": "1 of 2 failed; tells\n    ctl jobs"})
    made.commit(urgent=True)
    failed = say("jobs", "info", A).out
    end(made)
    ended = say("jobs", "info", A).out

    assert "reduce     waiting, attempt 2: ValueError: no \\x1b[31mgood\n" in reducing
    assert "error      parts: 1 of 2 failed; tells\n               ctl jobs\n" in failed
    assert 'reduce     done, attempt 2\nresult     {"sum": 3}\n' in ended
    assert "{" not in reducing + failed


def test_pending_parts_are_read_from_the_file_wherever_it_is(book, say, paths):
    made = book(A, "a.jsonl")
    done(made, "x")
    tell(made, "waiting", "w", step=None, error=ERROR, delay=60.0, output="")
    made.commit(urgent=True)
    lines = "".join(json.dumps({"id": each}) + "\n" for each in ("x", "w", "é"))

    absent = say("jobs", "pending", A)
    (paths.failed / "a.jsonl").write_text(lines + "no part\n")
    failed = say("jobs", "pending", A)
    (paths.active / A).mkdir()
    (paths.failed / "a.jsonl").rename(paths.active / A / "a.jsonl")
    opened = say("jobs", "pending", A, "--json")

    assert absent.status == 1
    assert "only an open job has pending parts" in absent.err
    assert failed.out == "w\né\n"
    assert opened.documents == [{"part": "w"}, {"part": "é"}]
    (paths.active / A / "a.jsonl").unlink()
    end(made)
    assert (say("jobs", "pending", A).status, say("jobs", "pending", A).out) == (0, "")


def test_waiting_for_a_job_ends_with_it_or_with_patience(book, say):
    made = book(A, "a.jsonl")
    made.commit(urgent=True)

    unknown = say("jobs", "wait", "nobody", "--seconds", "0.3")
    unfinished = say("jobs", "wait", A, "--seconds", "0.3")
    made.record("closed", error=ERROR)
    made.commit(urgent=True)
    failed = say("jobs", "wait", A)
    end(book(B, "b.jsonl"))
    reduced = say("jobs", "wait", B)

    assert (unknown.status, unknown.out) == (1, "")
    assert (unfinished.status, unfinished.out) == (4, "")
    assert (failed.status, failed.out) == (1, "a.jsonl: failed\n")
    assert (reduced.status, reduced.out) == (0, "b.jsonl: done\n")


def test_what_a_closed_job_failed_of_is_told(book, say):
    made = book(A, "a.jsonl")
    made.record("job_failed", error=ERROR, part="x", attempt=1)
    made.record("closed", error=ERROR)
    made.commit(urgent=True)

    [told] = say("jobs", "info", A, "--json").documents

    assert (told["state"], told["error"]) == ("failed", ERROR)


def test_a_cancel_that_nobody_hears_waits_for_the_next_start(book, say, paths):
    book(A, "a.jsonl").commit(urgent=True)

    said = say("cancel", A)
    [told] = say("cancel", A, "--json").documents

    assert (said.status, said.out) == (0, "not answered yet, the daemon is down\n")
    assert (told["verb"], told["waits"]) == ("cancel", "down")
    assert len(os.listdir(paths.requests)) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "name at least one file"),
        (("--each", "missing.txt"), "is no file"),
        (("--each", __file__, "--meta", "batch"), "--meta wants KEY=VALUE"),
        (("--each", __file__, "--name", "a.csv"), "must match [job] match"),
        (("--each", __file__, "--name", "a.txt"), "must match [job] match"),
        (("--each", __file__, "--name", "b/a.jsonl"), "must match [job] match"),
    ],
)
def test_a_submission_that_makes_no_job_is_refused(paths, say, arguments, why):
    said = say("submit", *arguments)

    assert (said.status, os.listdir(paths.inbox)) == (2, [])
    assert why in said.err


def test_what_no_rule_would_let_in_is_not_submitted(home, paths, say):
    home.configure('command = ["true"]\nmatch = ["*.jpg"]\n[job]\nmatch = ["*.jsonl"]\n')

    said = say("submit", "--each", __file__, "--name", "a.jsonl")

    assert (said.status, os.listdir(paths.inbox)) == (2, [])
    assert 'a.jsonl: would be ignored because of match = ["*.jpg"]' in said.err


def test_a_submitted_job_has_its_marker(home, paths, say):
    home.configure('command = ["true"]\nmarker = "{name}.ok"\n[job]\nmatch = ["*.jsonl"]\n')

    assert say("submit", "--each", __file__, "--name", "a.jsonl").status == 0

    assert sorted(os.listdir(paths.inbox)) == ["a.jsonl", "a.jsonl.ok"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a.jsonl", "a.jsonl: a file of that name is in the inbox; wait for it, or say --name"),
        ("b" * 300 + ".jsonl", "File name too long"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_as_what_it_is(home, paths, say, name, why):
    home.configure('command = ["true"]\n[job]\nmatch = ["*.jsonl"]\n')
    (paths.inbox / "a.jsonl").write_text("another's\n")

    said = say("submit", "--each", __file__, "--name", name)

    assert said.status == 1
    assert why in said.err
    assert ".resumed-" not in said.err
    assert (paths.inbox / "a.jsonl").read_text() == "another's\n"
    assert os.listdir(paths.inbox) == ["a.jsonl"]


def test_a_missing_inbox_is_told_with_what_to_do(home, paths, say):
    home.configure('command = ["true"]\n[job]\nmatch = ["*.jsonl"]\n')
    paths.inbox.rmdir()

    said = say("submit", "--each", __file__)

    assert said.status == 1
    assert f"{paths.inbox}: No such file or directory; 'resumed check" in said.err


def test_nothing_can_be_submitted_where_there_are_no_jobs(home, paths, say):
    home.configure('handler = "handler:process"\n')

    said = say("submit", "--each", __file__)

    assert (said.status, os.listdir(paths.inbox)) == (2, [])
    assert "has no [job]" in said.err
