"""Ask the program about journals that a recorder wrote, with no daemon there to help."""

import csv
import itertools
import json
import os
import subprocess
import sys
import time

import pytest

from resumed import commandline, config, ctl, place
from resumed.errors import EXIT_NEEDS_A_PERSON
from resumed.recorder import Recorder

AT = 1763812800.0
# Not even root may then read what its mode forbids.
PRIVILEGES = "-dac_override,-dac_read_search"
AS_ANYBODY = ["setpriv", f"--bounding-set={PRIVILEGES}", f"--inh-caps={PRIVILEGES}"]
MODULES_FOR_TERMINALS_OR_WORK = {
    *("rich", "tenacity", "watchdog", "logging", "difflib", "sdnotify"),
    *("shutil", "subprocess", "tempfile", "socket", "asyncio", "argparse"),
}


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    made.requests.mkdir()
    return made


class Past(Recorder):
    """Write what happened to items, as the daemon would."""

    def claim(self, item_id, name, *, inode=1, size=3):
        particulars = {"inode": inode, "size": size, "mtime_ns": 1, "owner": os.geteuid()}
        self.record("claimed", id=item_id, name=name, **particulars)

    def start(self, item_id, attempt=1):
        self.record("started", id=item_id, attempt=attempt)

    def step(self, item_id, step, result):
        self.record("stepped", id=item_id, step=step, result=result)

    def fault(self, kind, item_id, step=None, attempt=1, **more):
        error = {"kind": "builtins.ValueError", "text": "no \x1b[31mgood"}
        self.record(kind, id=item_id, attempt=attempt, step=step, error=error, **more)

    def fail(self, item_id, step=None, attempt=1, kept_as=None):
        self.fault("failed", item_id, step, attempt, output="Traceback\nValueError")
        self.record("put_away", id=item_id, **{"as": kept_as})

    def done(self, item_id, kept_as, result=None):
        self.record("done", id=item_id, attempt=1, result=result, seconds=0.25)
        self.record("put_away", id=item_id, **{"as": kept_as})


@pytest.fixture
def past(paths):
    bits, ticks = itertools.count(1), itertools.count()
    recorder = Past(paths, lambda: AT + next(ticks), lambda _: next(bits))
    yield recorder
    recorder._journal.close()


def id_at(seconds, number=1):
    return f"{int((AT + seconds) * 1000):011x}-{number:010x}"


A, B, C, D, E = (id_at(0, number) for number in range(1, 6))


@pytest.fixture
def of_all_kinds(past):
    """Item *a* is done, *b* failed, *c* waits, *d* is held, *e* runs."""
    past.claim(A, "a.txt")
    past.start(A)
    past.step(A, "search", {"hits": 3})
    past.done(A, "a.txt", {"ok": True})
    past.claim(B, "b\x1b]0;b.txt", inode=2)
    past.start(B)
    past.step(B, "search", [1])
    past.fail(B, "watermark", kept_as=f"b\x1b]0;b~{B}.txt")
    past.claim(C, "c.txt", inode=3)
    past.start(C)
    past.fault("waiting", C, "watermark", delay=60.0)
    past.claim(D, "d.txt", inode=4)
    past.record("held", id=D, why="asked for")
    past.record("put_away", id=D, **{"as": "d.txt"})
    past.claim(E, "e.txt", inode=5)
    past.start(E)
    past.commit()
    return past


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
        capsys.readouterr()
        return Said(commandline.invoke(ctl.program, "resumed-ctl"), capsys.readouterr())

    return call


# status


def test_status_of_what_was_never_run_says_how_to_begin(say, home):
    (home.inbox / "new.txt").touch()

    said = say("status")

    assert said.status == 0
    assert "not running" in said.out
    assert f"'resumed run --home {home.path}' begins" in said.out
    assert "1 file: new.txt" in said.out


@pytest.mark.usefixtures("of_all_kinds")
def test_status_counts_each_state(say):
    [told] = say("status", "--json").documents

    counts = {name: told["counts"][name] for name in ("running", "waiting", "held", "failed")}
    assert counts == {"running": 1, "waiting": 1, "held": 1, "failed": 1}
    assert told["ever"] == {"done": 1, "failed": 1}
    assert told["daemon"]["state"] == "down"
    assert not told["healthy"]
    assert told["running"][0]["name"] == "e.txt"
    assert told["next_due_at"] == told["waiting"][0]["due_at"]


def test_status_names_what_is_left_alone_and_lets_nothing_act_on_the_terminal(say, home, past):
    past.commit()
    os.mkfifo(home.inbox / "pipe\x1b[2J")
    (home.inbox / "link").symlink_to("/etc/passwd")

    said = say("status")

    assert "pipe\\x1b[2J  fifo" in said.out
    assert "link         symlink" in said.out


@pytest.mark.usefixtures("of_all_kinds")
def test_status_for_a_person_tells_due_times_and_what_to_do(say):
    said = say("status")

    assert "c.txt  attempt 2 now due" in said.out
    assert "in step watermark: ValueError: no \\x1b[31mgood" in said.out
    assert "release NAME" in said.out
    assert "failures'" in said.out


def test_a_paused_instance_says_how_to_go_on(say, past):
    past.record("paused", by="0")
    past.commit()

    assert "unpause' goes on" in say("status").out
    assert say("status", "--json").documents[0]["why"][-1] == "paused by request"


def test_status_counts_a_large_inbox_only_for_a_moment(say, home, past, monkeypatch):
    past.commit()
    monkeypatch.setattr("resumed.glance.COUNT_SECONDS", -1)
    for number in range(1001):
        (home.inbox / f"{number:04}").touch()

    [told] = say("status", "--json").documents

    assert told["inbox"]["files"] == 1000
    assert not told["inbox"]["counted_all"]
    assert "at least 1000 files" in say("status").out


def test_a_missing_inbox_is_told(say, home, past):
    past.commit()
    home.inbox.rmdir()

    assert "cannot be read: No such file" in say("status").out


# ls, failures


@pytest.mark.usefixtures("of_all_kinds")
def test_ls_lists_live_items_and_arrivals(say, home):
    (home.inbox / "new.txt").touch()

    listed = {each["name"]: each["state"] for each in say("ls", "--json").documents}

    assert listed == {
        "b\x1b]0;b.txt": "failed",
        "c.txt": "waiting",
        "d.txt": "held",
        "e.txt": "running",
        "new.txt": "inbox",
    }
    assert len(say("ls").out.splitlines()) == 5


@pytest.mark.usefixtures("of_all_kinds")
def test_ls_can_be_limited_to_states(say):
    said = say("ls", "--state", "held", "--state", "waiting", "--json")

    assert [each["name"] for each in said.documents] == ["c.txt", "d.txt"]


@pytest.mark.usefixtures("of_all_kinds")
def test_failures_tell_when_where_and_why(say):
    [row] = say("failures").out.splitlines()
    [told] = say("failures", "--json").documents

    assert "watermark" in row
    assert "1 attempt" in row
    assert row.endswith("ValueError: no \\x1b[31mgood")
    assert "\x1b" not in row
    assert (told["step"], told["error"]["kind"]) == ("watermark", "builtins.ValueError")


@pytest.fixture
def many_failures(past):
    reasons = ["no page 1", "no page 22", "key 'a' is missing"]
    for number, reason in enumerate(reasons):
        item_id = id_at(number, number + 1)
        past.claim(item_id, f"=f{number}.txt", inode=number)
        error = {"kind": "builtins.ValueError", "text": reason}
        particulars = {"attempt": 1, "step": "read" if number else None, "error": error}
        past.record("failed", id=item_id, output="", **particulars)
        past.record("put_away", id=item_id, **{"as": f"=f{number}.txt"})
    past.commit()
    return [id_at(number, number + 1) for number in range(3)]


@pytest.mark.usefixtures("many_failures")
def test_failures_that_differ_only_in_numbers_are_one_reason(say):
    told = say("failures", "--by", "reason", "--json").documents

    assert [(each["count"], each["group"]) for each in told] == [
        (2, "ValueError: no page …"),
        (1, "ValueError: key … is missing"),
    ]
    assert told[0]["names"] == ["=f0.txt", "=f1.txt"]
    assert say("failures", "--by", "reason").out.splitlines()[0].endswith("=f0.txt, ...")


def test_what_harms_a_terminal_is_escaped_once_in_a_reason(say, past):
    item_id = id_at(1, 1)
    past.claim(item_id, "a", inode=1)
    error = {"kind": "builtins.ValueError", "text": "no \x1b and\nno"}
    past.record("failed", id=item_id, output="", attempt=1, step=None, error=error)
    past.commit()

    told = say("failures", "--by", "reason").out

    assert "ValueError: no \\x1b and\\nno" in told


@pytest.mark.parametrize(
    ("verb", "told"), [("retry", "--all goes with no names"), ("release", "not both")]
)
def test_names_beside_all_are_refused_as_what_they_are(say, verb, told):
    refused = say(verb, "--all", "a.txt")

    assert refused.status == 2
    assert told in refused.err


@pytest.mark.usefixtures("many_failures")
@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ('handler = "handler:process"', {"handler:process": 1, "read": 2}),
        ('[[steps]]\nname = "read"\ncommand = ["cat", "{path}"]', {"-": 1, "cat {path}": 2}),
        ("wrong = true", {"-": 1, "read": 2}),
    ],
)
def test_failures_can_be_counted_by_handler_and_step(say, home, text, groups):
    home.configure(text)

    told = say("failures", "--by", "handler", "--json").documents
    assert {each["group"]: each["count"] for each in told} == groups
    told = say("failures", "--by", "step", "--json").documents
    assert {each["group"]: each["count"] for each in told} == {"-": 1, "read": 2}


@pytest.mark.usefixtures("many_failures")
def test_failures_as_csv_calculate_nothing_in_a_spreadsheet(say):
    rows = list(csv.reader(say("failures", "--csv").out.splitlines()))

    assert rows[0][:2] == ["id", "name"]
    assert [row[1] for row in rows[1:]] == ["'=f0.txt", "'=f1.txt", "'=f2.txt"]
    assert say("failures", "--csv", "--json").status == 2


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        (("=f[01]*",), [0, 1]),
        (("--reason", "PAGE"), [0, 1]),
        (("--reason", "page 1"), [0]),
        (("*", "--reason", "missing"), [2]),
        (("--all", "--since", "2025-11-22T12:00:04Z"), [1, 2]),
        (("--all",), [0, 1, 2]),
    ],
)
def test_a_dry_run_lists_what_a_retry_would_take_up(say, home, many_failures, line, numbers):
    said = say("retry", *line, "--dry-run", "--json")

    assert [each["id"] for each in said.documents] == [many_failures[each] for each in numbers]
    assert len(say("retry", *line, "-n").out.splitlines()) == len(numbers)
    assert not list((home.state / "requests").iterdir())


def test_a_retry_by_reason_asks_for_just_these(say, home, many_failures):
    assert say("retry", "--reason", "missing").status == 0

    [wish] = (home.state / "requests").iterdir()
    assert json.loads(wish.read_text())["ids"] == many_failures[2:]


@pytest.mark.usefixtures("many_failures")
def test_a_retry_that_fits_nothing_asks_nothing(say, home):
    said = say("retry", "--reason", "no such reason")

    assert said.status == 1
    assert "no item fits" in said.err
    assert not list((home.state / "requests").iterdir())


def test_a_held_item_has_no_reason_to_be_retried_for(say, past):
    past.claim(A, "a.txt")
    past.record("held", id=A, why="asked for")
    past.commit()

    assert "must be failed or waiting" in say("retry", "a*", "--reason", "x").err


# put


def test_put_copies_whole_files_under_their_names(say, home, tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "b.txt").write_text("defg")

    said = say("put", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "--json")

    assert [(each["name"], each["bytes"]) for each in said.documents] == [
        ("a.txt", 3),
        ("b.txt", 4),
    ]
    assert (home.inbox / "b.txt").read_text() == "defg"
    assert home.names("inbox") == ["a.txt", "b.txt"]


def test_put_overwrites_nothing(say, home, tmp_path):
    (tmp_path / "a.txt").write_text("new")
    (home.inbox / "a.txt").write_text("old")

    said = say("put", str(tmp_path / "a.txt"))

    assert said.status == 1
    assert "say --as NAME" in said.err
    assert (home.inbox / "a.txt").read_text() == "old"
    assert say("put", str(tmp_path / "a.txt"), "--as", "b.txt").out == "b.txt: 3 B\n"
    assert home.names("inbox") == ["a.txt", "b.txt"]


def test_put_makes_the_marker_after_the_file(say, home, tmp_path):
    home.configure('handler = "handler:process"\nmarker = "{name}.ok"\n')
    (tmp_path / "a.txt").write_text("abc")

    assert say("put", str(tmp_path / "a.txt")).status == 0

    assert home.names("inbox") == ["a.txt", "a.txt.ok"]


@pytest.mark.parametrize("name", ["missing", "folder", "a.part"])
def test_put_refuses_what_would_not_be_taken_and_leaves_nothing(say, home, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.part").touch()

    said = say("put", str(tmp_path / name))

    assert said.status == 1
    assert name in said.err
    assert os.listdir(home.inbox) == []


def test_put_says_of_what_the_inbox_refuses_that_it_was_the_inbox(say, home, tmp_path):
    (tmp_path / "a.txt").touch()
    name = "b" * 300

    said = say("put", str(tmp_path / "a.txt"), "--as", name)

    assert said.status == 1
    assert f"{home.inbox}/{name}: File name too long; nothing was dropped" in said.err
    assert os.listdir(home.inbox) == []


def test_put_with_one_name_for_two_files_cannot_be_followed(say, home):
    assert say("put", "a", "b", "--as", "c").status == 2
    home.inbox.rmdir()
    assert say("put", "a").status == 1


# log


@pytest.mark.usefixtures("of_all_kinds")
def test_log_tells_each_fact_of_the_items_that_fit(say):
    assert [line.split("  ")[1] for line in say("log", "a*").out.splitlines()] == [
        "a.txt: claimed, 3 B",
        "a.txt: attempt 1 started",
        'a.txt: step search done: {"hits":3}',
        'a.txt: done at attempt 1 in 250ms: {"ok":true}',
        "a.txt: put away as a.txt",
    ]
    assert {each["name"] for each in say("log", B, "--json").documents} == {"b\x1b]0;b.txt"}
    assert say("log", "--since", "today").out == ""


def test_log_tells_what_was_asked(say, past):
    past.record("answered", request="r", verb="retry", ok=True, answer=["a.txt: taken\x1b up"])
    past.commit()

    assert say("log").out.endswith("-: asked to retry: a.txt: taken\\x1b up\n")


# show, history, export


@pytest.mark.parametrize("name", ["b\x1b]0;b.txt", B, f"b\x1b]0;b~{B}.txt"])
@pytest.mark.usefixtures("of_all_kinds")
def test_show_finds_an_item_by_each_of_its_names(say, name):
    [told] = say("show", name, "--json").documents

    kinds = [each["kind"] for each in told["story"]]
    assert kinds == ["claimed", "started", "stepped", "failed", "put_away"]
    assert told["state"] == "failed"


@pytest.mark.usefixtures("of_all_kinds")
def test_show_tells_the_story_for_a_person(say):
    said = say("show", "c.txt")

    assert f"c.txt  ({C}, waiting, 3 B, 1 attempt)" in said.out
    assert "attempt 1 started" in said.out
    assert (
        "attempt 1 failed in step watermark: ValueError: no \\x1b[31mgood; next in 1min" in said.out
    )
    assert "attempt 2 is due" in said.out


@pytest.mark.parametrize("compacted", [False, True])
def test_a_story_is_the_same_before_and_after_the_journal_is_rewritten(
    say, of_all_kinds, compacted
):
    before = [say("show", name, "--json").documents for name in ("a.txt", "c.txt", "d.txt")]
    if compacted:
        of_all_kinds.compact()

    again = [say("show", name, "--json").documents for name in ("a.txt", "c.txt", "d.txt")]

    assert again == before
    assert before[0][0]["state"] == "done"
    assert before[0][0]["result"] == {"ok": True}


def test_show_of_a_name_that_was_used_again_tells_the_latest(say, past):
    past.claim(A, "again.txt")
    past.done(A, "again.txt", 1)
    past.claim(B, "again.txt")
    past.done(B, "again.txt", 2)
    past.commit()

    [told] = say("show", "again.txt", "--json").documents

    assert told["result"] == 2


@pytest.mark.parametrize("ending", ["gone", "removed"])
def test_show_of_an_item_without_a_file_says_how_it_ended(say, past, ending):
    past.claim(A, "a.txt")
    past.record(ending, id=A, **({"why": "taken"} if ending == "gone" else {}))
    past.commit()

    [told] = say("show", "a.txt", "--json").documents

    assert told["state"] == ending


def test_show_of_a_story_whose_beginning_was_deleted_tells_the_rest(say, home, past):
    past.claim(A, "a.txt")
    past.commit()
    past.compact()
    past.done(A, "a.txt", 1)
    past.commit()
    past.compact()
    [day] = (home.state / "history").iterdir()
    day.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[1:]))

    [told] = say("show", A, "--json").documents

    assert told["state"] == "unknown"
    assert [each["kind"] for each in told["story"]] == ["done", "put_away"]
    assert "name no longer kept" in say("show", A).out
    assert "name no longer kept" in say("history").out


def test_show_of_nothing_ends_with_1_and_says_where_to_look(say, past):
    past.commit()

    said = say("show", "nothing")

    assert said.status == 1
    assert "nothing: no item of that name" in said.err


@pytest.mark.usefixtures("of_all_kinds")
def test_history_lists_endings_with_names(say):
    told = say("history", "--json").documents

    assert [(each["kind"], each["name"]) for each in told] == [
        ("done", "a.txt"),
        ("failed", "b\x1b]0;b.txt"),
    ]
    assert "\x1b" not in say("history").out


def test_history_can_be_limited(say, of_all_kinds):
    of_all_kinds.compact()

    assert [e["name"] for e in say("history", "--json", "--state", "done").documents] == ["a.txt"]
    [last] = say("history", "--json", "-n", "1").documents
    assert last["name"].startswith("b")
    assert [e["name"] for e in say("history", "--json", "a*").documents] == ["a.txt"]
    assert say("history", "--json", "--since", "today").documents == []
    assert len(say("history", "--json", "--since", "2025-11-22T12:00:00Z").documents) == 2


def test_history_names_items_that_were_claimed_on_an_earlier_day(say, paths):
    now = [AT]
    recorder = Past(paths, lambda: now[0], lambda bits: bits)
    recorder.claim(A, "a.txt")
    recorder.commit()
    now[0] += 3 * 86400
    recorder.done(A, "a.txt")
    recorder.commit()
    recorder.compact()
    recorder._journal.close()

    [told] = say("history", "--since", "2025-11-25", "--json").documents

    assert told["name"] == "a.txt"


def test_an_unknown_moment_is_a_mistake_of_usage(say, past):
    past.commit()

    said = say("history", "--since", "noon-ish")

    assert said.status == 2
    assert 'write it as "yesterday"' in said.err


@pytest.mark.usefixtures("of_all_kinds")
def test_export_is_the_picture_of_a_status_file(say, home):
    home.configure(
        '[[steps]]\nname = "search"\ncommand = ["true"]\n'
        '[[steps]]\nname = "watermark"\ncommand = ["true"]\n'
    )

    told = json.loads(say("export").out)

    assert told == {
        "a.txt": {"search": {"hits": 3}},
        "b\x1b]0;b.txt": {"search": [1], "watermark": ["ValueError", "no \x1b[31mgood"]},
        "c.txt": {"search": False, "watermark": ["ValueError", "no \x1b[31mgood"]},
        "d.txt": {"search": False, "watermark": False},
        "e.txt": {"search": False, "watermark": False},
    }
    assert say("export", "--json").documents == [told]


def test_export_of_items_without_steps_has_one_key(say, past):
    past.claim(A, "a.txt")
    past.done(A, "a.txt", 7)
    past.claim(B, "b.txt")
    past.fail(B, kept_as="b.txt")
    past.claim(C, "c.txt")
    past.claim(D, "d.txt")
    past.record("done", id=D, attempt=1, result="not put away yet", seconds=0.1)
    past.claim(E, "e.txt")
    past.record("gone", id=E, why="taken")
    past.commit()

    assert json.loads(say("export").out) == {
        "a.txt": {"handler": 7},
        "b.txt": {"handler": ["ValueError", "no \x1b[31mgood"]},
        "c.txt": {"handler": False},
        "d.txt": {"handler": "not put away yet"},
    }


def test_export_leaves_forgotten_steps_out(say, past):
    past.claim(A, "a.txt")
    past.step(A, "one", 1)
    past.fail(A, "two", kept_as="a.txt")
    past.record("retried", id=A, fresh=True)
    past.step(A, "other", 2)
    past.done(A, "a.txt")
    past.claim(B, "b.txt")
    past.step(B, "one", 1)
    past.record("versioned", version="2")
    past.done(B, "b.txt", "anew")
    past.commit()

    assert json.loads(say("export").out) == {"a.txt": {"other": 2}, "b.txt": {"handler": "anew"}}


@pytest.mark.parametrize("line", [("ls",), ("failures",), ("history",), ("export", "--json")])
def test_where_nothing_was_ever_run_nothing_is_told(say, line):
    said = say(*line)

    assert said.status == 0
    assert said.out in ("", "{}\n")


# requests, with nobody there to answer


@pytest.mark.usefixtures("of_all_kinds")
def test_a_request_waits_for_the_next_start_and_says_so(say, home):
    said = say("retry", "b\x1b]0;b.txt", "--fresh")

    assert said.status == 0
    assert "next start or drain" in said.out
    [wish] = (home.state / "requests").iterdir()
    assert json.loads(wish.read_text()) == {"verb": "retry", "ids": [B], "fresh": True}


@pytest.mark.parametrize(
    ("verb", "name", "item_id"), [("hold", "c.txt", C), ("release", "d.txt", D), ("remove", D, D)]
)
@pytest.mark.usefixtures("of_all_kinds")
def test_a_wish_is_submitted_by_id(say, home, verb, name, item_id):
    said = say(verb, name, *(["--yes"] if verb == "remove" else []), "--json")

    [told] = said.documents
    assert (told["verb"], told["waits"], told["answer"]) == (verb, "down", [])
    [wish] = (home.state / "requests").iterdir()
    assert json.loads(wish.read_text())["ids"] == [item_id]
    assert wish.name == told["request"]


@pytest.mark.usefixtures("of_all_kinds")
def test_a_wish_that_makes_no_sense_is_refused_with_the_reason(say, home):
    said = say("hold", "e.txt", "nothing")

    assert said.status == 1
    assert "e.txt: is running; to hold it, it must be pending or waiting" in said.err
    assert "nothing: no item of that name" in said.err
    assert not list((home.state / "requests").iterdir())


@pytest.mark.usefixtures("of_all_kinds")
def test_what_makes_sense_is_asked_beside_what_does_not(say, home):
    said = say("release", "d.txt", "e.txt")

    assert said.status == 1
    assert len(list((home.state / "requests").iterdir())) == 1


def test_many_items_are_asked_for_in_several_requests(say, home, past, monkeypatch):
    monkeypatch.setattr("resumed.asking.IDS_LIMIT", 2)
    names = [f"{number}.txt" for number in range(5)]
    for number, name in enumerate(names):
        past.claim(id_at(0, number), name)
    past.commit()

    assert say("hold", *names).status == 0

    wishes = [json.loads(each.read_text()) for each in (home.state / "requests").iterdir()]
    assert sorted(len(wish["ids"]) for wish in wishes) == [1, 2, 2]


@pytest.mark.usefixtures("of_all_kinds")
def test_the_parts_of_a_job_go_into_one_request_or_nothing_is_asked(say, home, past, monkeypatch):
    """Of two requests the second came when the job was open again, and was refused."""
    monkeypatch.setattr("resumed.asking.IDS_LIMIT", 2)
    past.record("job_opened", id=E)
    past.fail(E, "e.txt", kept_as="e.txt")
    past.commit()

    many = say("retry", B, *(f"{E}#{number:032}" for number in range(2000)))
    assert (many.status, "2000 parts are too many" in many.err) == (1, True)
    assert not list((home.state / "requests").iterdir())

    assert say("retry", B, *(f"{E}#{number:032}" for number in range(900))).status == 0
    wishes = [json.loads(each.read_text()) for each in (home.state / "requests").iterdir()]
    assert sorted(len(wish["ids"]) for wish in wishes) == [1, 900]


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_all_is_one_request_that_the_daemon_fills_in(say, home, past, verb):
    past.commit()

    assert say(verb, "--all").status == 0

    [wish] = (home.state / "requests").iterdir()
    assert json.loads(wish.read_text())["all"] is True


@pytest.mark.parametrize(
    "line", [("retry",), ("retry", "--all", "x"), ("hold",), ("release",), ("what",), ("ls", "--x")]
)
def test_a_line_that_cannot_be_followed_ends_with_2(say, past, line):
    past.commit()

    assert say(*line).status == 2


@pytest.mark.parametrize("verb", ["pause", "unpause", "reload"])
def test_wishes_about_the_whole_need_no_item(say, home, past, verb):
    past.commit()

    assert say(verb).status == 0

    [wish] = (home.state / "requests").iterdir()
    assert json.loads(wish.read_text())["verb"] == verb


@pytest.mark.usefixtures("of_all_kinds")
def test_remove_asks_before_and_takes_silence_for_a_no(ctl, home):
    said = ctl("remove", "d.txt", status=1)

    assert "--yes" in said.stderr
    assert not list((home.state / "requests").iterdir())


@pytest.mark.usefixtures("home")
def test_nothing_can_be_asked_where_nothing_was_run(say):
    said = say("pause")

    assert said.status == 1
    assert "requests: is missing" in said.err


# the program


@pytest.mark.usefixtures("of_all_kinds")
def test_a_wrong_configuration_keeps_nobody_from_looking(say, home):
    home.configure('handler = 3\nunknown = "key"\n')

    assert say("status").status == say("export").status == 0


def test_a_file_that_is_no_configuration_is_told_with_its_line(say, home):
    home.configure('handler = "a:b"\n[paths\n')

    said = say("status")

    assert said.status == EXIT_NEEDS_A_PERSON
    assert "resumed.toml:2" in said.err


@pytest.mark.usefixtures("of_all_kinds")
def test_a_home_needs_no_configuration_to_be_looked_at(say, home):
    (home.path / "resumed.toml").unlink()

    assert "e.txt" in say("ls").out


@pytest.mark.parametrize(
    "text",
    ["", '[paths]\nspool = "sp"\nstate = "st"\n', '[paths]\ninbox = "../elsewhere/in"\n'],
)
@pytest.mark.parametrize("with_home", [True, False])
def test_the_folders_are_those_of_the_whole_configuration(home, text, with_home):
    home.configure('handler = "handler:process"\n' + text)
    options = {"home": home.path} if with_home else {"file": home.path / "resumed.toml"}

    assert place.find(**options) == config.load(**options).paths


def test_the_default_file_is_that_of_the_configuration():
    assert place.DEFAULT_FILE == config.DEFAULT_FILE


@pytest.mark.usefixtures("of_all_kinds")
def test_a_reader_that_has_seen_enough_is_no_error(home):
    program = [sys.executable, "-m", "resumed.ctl", "--home", str(home.path), "journal", "cat"]
    read, write = os.pipe()
    os.close(read)

    ended = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, check=False)

    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("line", [("status",), ("failures",), ("pause",), ("journal", "check")])
@pytest.mark.usefixtures("of_all_kinds")
def test_an_outsider_is_refused_and_told_why(home, line):
    os.chown(home.state, 1, 1)
    home.state.chmod(0o700)
    program = [sys.executable, "-m", "resumed.ctl", "--home", str(home.path), *line]

    ended = subprocess.run([*AS_ANYBODY, *program], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "not open to you" in ended.stderr
    assert "sudo" in ended.stderr


@pytest.mark.usefixtures("of_all_kinds")
def test_looking_loads_nothing_that_only_terminals_or_work_need(home):
    line = "import sys; before = set(sys.modules)\n"  # of a tool that measures, above all
    line += f"sys.argv = ['x', '--home', {str(home.path)!r}, 'failures']"
    code = f"{line}\nfrom resumed import ctl\ntry: ctl.main()\nexcept SystemExit: pass\n"
    code += "print(*set(sys.modules) - before, sep='\\n', file=sys.stderr)"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "b\\x1b" in ended.stdout
    loaded = {name.split(".")[0] for name in ended.stderr.split()}
    assert not loaded & MODULES_FOR_TERMINALS_OR_WORK


def test_help_names_every_command(say):
    said = say("--help")

    assert all(command in said.out for command in ctl.COMMANDS)
    assert "Exit statuses" in said.out


def test_a_fault_of_ours_ends_with_70(monkeypatch, say):
    def fail(*_):
        raise RuntimeError("ours")

    monkeypatch.setattr("resumed.view.look", fail)

    said = say("failures")

    assert said.status == 70
    assert "RuntimeError: ours" in said.err


@pytest.mark.usefixtures("home", "of_all_kinds")
def test_ctrl_c_ends_with_130(monkeypatch, say):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)

    assert say("journal", "cat", "--follow").status == 130
