"""Check, repair and print journals as a person does, by the program."""

import itertools
import json
import os
import sys

import pytest

from resumed import commandline, ctl, place
from resumed.parts import Locks
from resumed.recorder import Recorder
from resumed.view import Follower

AT = 1763812800.0
ID = "019a3c5d7e2-0000000001"


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    return made


@pytest.fixture
def recorder(paths):
    bits = itertools.count(1)
    made = Recorder(paths, lambda: AT, lambda _: next(bits))
    yield made
    made._journal.close()


@pytest.fixture
def say(home, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resumed-ctl", "--home", str(home.path), *arguments])
        capsys.readouterr()
        status = commandline.invoke(ctl.program, "resumed-ctl")
        return status, capsys.readouterr()

    return call


def claim(recorder, item_id=ID, name="a\x1b.txt"):
    recorder.record("claimed", id=item_id, name=name, inode=1, size=3, mtime_ns=1, owner=0)
    recorder.commit()


def spoil(path, line):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = b"\x1b" * (len(lines[line - 1]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))


def test_a_clean_journal_is_said_to_be_clean(say, recorder):
    claim(recorder)
    recorder.settle()

    status, said = say("journal", "check")

    assert status == 0
    assert "clean: 3 records, generation 00000001" in said.out


def test_a_torn_journal_needs_nothing(say, recorder, paths):
    claim(recorder)
    recorder.settle()
    with paths.journal.open("ab") as file:
        file.write(b'{"n":')

    status, said = say("journal", "check", "--json")

    assert status == 0
    told = json.loads(said.out)
    assert (told["state"], told["records"], len(told["bad"])) == ("torn", 3, 1)
    assert "the next start cuts and keeps it" in say("journal", "check")[1].out


def test_a_torn_end_of_a_journal_in_use_is_only_being_written(say, recorder, paths):
    claim(recorder)
    with paths.journal.open("ab") as file:
        file.write(b'{"n":')
    locks = Locks(paths)

    _, said = say("journal", "check")

    locks.close()
    assert "being written just now" in said.out


def test_a_corrupt_journal_is_named_with_each_bad_line_and_the_remedy(say, recorder, paths):
    for number in range(1, 30):
        claim(recorder, f"019a3c5d7e2-{number:010x}")
    for line in range(3, 27):
        spoil(paths.journal, line)
    before = paths.journal.read_bytes()

    status, said = say("journal", "check")

    assert status == 78
    assert f"{paths.journal}:3: at byte" in said.out
    assert "and 4 more bad lines" in said.out
    assert "journal repair'" in said.out
    assert paths.journal.read_bytes() == before


def test_where_nothing_was_run_there_is_nothing_to_check(say):
    status, said = say("journal", "check", "--json")

    assert status == 0
    assert json.loads(said.out)["state"] == "missing"


@pytest.mark.parametrize("line", [("journal", "check"), ("status",)])
def test_a_journal_that_is_missing_but_was_here_is_a_loss(say, recorder, paths, line):
    claim(recorder)
    paths.journal.unlink()

    status, said = say(*line)

    assert status == 78
    assert "is missing, but was here before" in said.err


def test_a_sound_line_that_contradicts_those_before_it_is_refused(say, recorder, paths):
    claim(recorder)
    recorder._journal.append("started", AT, {"id": "nobody", "attempt": 1})
    recorder._journal.sync()

    status, said = say("status")

    assert status == 78
    assert f"{paths.journal}:3: " in said.err


def test_a_journal_of_a_newer_program_is_left_to_it(say, recorder, paths):
    claim(recorder)
    recorder._journal.append("invented", AT, {})
    recorder._journal.sync()

    status, said = say("failures")

    assert status == 78
    assert "newer" in said.err
    assert paths.journal.exists()


def test_a_symlink_in_its_place_is_no_journal(say, paths):
    paths.journal.symlink_to("/dev/null")

    status, said = say("status")

    assert status == 78
    assert "cannot be opened" in said.err


def test_repair_says_what_it_saved_and_what_to_do_next(say, recorder, paths):
    for number in range(1, 26):
        claim(recorder, f"019a3c5d7e2-{number:010x}")
    recorder.record("started", id=ID, attempt=1)
    recorder.commit()
    claim(recorder, "019a3c5d7e2-00000000ff")
    spoil(paths.journal, 27)

    status, said = say("journal", "repair")

    assert status == 0
    [broken] = paths.state.glob("journal.broken-*")
    assert str(broken) in said.out
    assert "25 items on hold" in said.out
    assert "  a\\x1b.txt" in said.out
    assert "and 5 more" in said.out
    assert "ls --state held" in said.out
    assert say("journal", "check")[0] == 0


def test_repair_of_what_stood_in_the_previous_journal_says_that_nothing_is_lost(
    say, recorder, paths
):
    claim(recorder)
    recorder.compact()
    claim(recorder, "019a3c5d7e2-00000000ff")
    spoil(paths.journal, 2)

    _, said = say("journal", "repair")

    assert "nothing is lost" in said.out
    assert "0 items on hold" in said.out


def test_a_clean_journal_is_not_repaired(say, recorder, paths):
    claim(recorder)

    status, said = say("journal", "repair")

    assert status == 0
    assert "nothing to repair" in said.out
    assert not list(paths.state.glob("journal.broken-*"))


def test_a_missing_journal_is_made_anew(say, recorder, paths):
    claim(recorder)
    paths.journal.unlink()

    status, said = say("journal", "repair")

    assert status == 0
    assert "written anew from 0 sound records" in said.out
    assert say("status")[0] == 0


def test_nothing_is_repaired_under_a_running_daemon(say, recorder, paths):
    claim(recorder)
    spoil(paths.journal, 1)
    locks = Locks(paths)

    status, said = say("journal", "repair")

    locks.close()
    assert status == 75
    assert "at work here" in said.err


def test_nothing_is_repaired_where_nothing_is(say, home):
    home.state.rmdir()

    status, said = say("journal", "repair")

    assert status == 1
    assert "nothing to repair" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_repair_by_root_leaves_all_files_to_the_daemons_user(ctl, recorder, paths):
    claim(recorder)
    claim(recorder, "019a3c5d7e2-00000000ff")
    spoil(paths.journal, 2)
    for path in [*paths.state.iterdir(), paths.state]:
        os.chown(path, 1, 1)
    for folder in (paths.spool, *paths.spool.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)

    ctl("journal", "repair")

    assert {path.stat().st_uid for path in paths.state.rglob("*")} == {1}


def test_cat_prints_the_lines_as_they_are(say, recorder, paths):
    claim(recorder)

    _, said = say("journal", "cat")

    assert said.out.encode() == paths.journal.read_bytes()


def test_cat_lets_no_damaged_line_act_on_the_terminal(say, recorder, paths):
    claim(recorder)
    spoil(paths.journal, 2)
    with paths.journal.open("ab") as file:
        file.write(b"half")

    _, said = say("journal", "cat")

    assert "\x1b" not in said.out
    assert said.out.splitlines()[1].startswith("\\x1b\\x1b")
    assert "4 B of an unfinished line" in said.err


def test_cat_of_no_journal_is_refused(say):
    status, said = say("journal", "cat")

    assert status == 1
    assert "there is none yet" in said.err


# the follower that cat and all waiting commands stand on


def test_a_follower_waits_for_the_end_of_a_line(recorder, paths):
    follower = Follower(paths.journal)
    assert len(follower.poll()) == 1
    claim(recorder)
    whole = paths.journal.read_bytes()
    paths.journal.write_bytes(whole[:-5])

    assert follower.poll() == []
    assert follower.unfinished > 0
    paths.journal.write_bytes(whole)

    assert follower.poll() == [whole.splitlines(keepends=True)[1]]
    follower.close()
    follower.close()


def test_a_follower_goes_on_in_the_file_that_replaces_the_journal(recorder, paths):
    follower = Follower(paths.journal)
    claim(recorder)
    follower.poll()
    recorder.record("started", id=ID, attempt=1)
    recorder.commit()
    recorder.compact()

    last = [each["kind"] for each in follower.records()]
    anew = [each["kind"] for each in follower.records()]

    assert last == ["started"]
    assert anew == ["opened", "claimed", "started"]
    assert follower.switched
    follower.close()


def test_a_follower_outlives_a_moment_without_a_journal(recorder, paths):
    claim(recorder)
    follower = Follower(paths.journal)
    follower.poll()
    paths.journal.rename(paths.state / "elsewhere")

    assert follower.poll() == []
    follower.close()
