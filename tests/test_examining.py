"""Audit, judge, count and examine real instances."""

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from resumed import audit, commandline, ctl, doctor, place, sidecar
from resumed.parts import Locks
from resumed.recorder import Recorder
from resumed.view import RefusedError

A, B, C, D = (f"{int(time.time() * 1000):011x}-{number:010x}" for number in range(1, 5))
ERROR = {"kind": "builtins.ValueError", "text": "no"}


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    made.active.chmod(0o700)
    return made


@pytest.fixture
def recorder(paths):
    made = Recorder(paths, time.time, lambda bits: bits)
    yield made
    made._journal.close()


@pytest.fixture
def say(home, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resumed-ctl", "--home", str(home.path), *arguments])
        capsys.readouterr()
        status = commandline.invoke(ctl.program, "resumed-ctl")
        return status, capsys.readouterr().out

    return call


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(audit, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def up(paths):
    locks = Locks(paths)
    yield
    locks.close()


def put(recorder, item_id, name, path):
    """Record the claim of a file that is made at *path*."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("text")
    status = path.stat()
    identity = {"inode": status.st_ino, "size": 4, "mtime_ns": status.st_mtime_ns}
    recorder.record("claimed", id=item_id, name=name, owner=0, **identity)


def fail(recorder, item_id, kept_as):
    recorder.record("failed", id=item_id, attempt=1, step=None, error=ERROR, output="")
    recorder.record("put_away", id=item_id, **{"as": kept_as})


@pytest.fixture
def conserved(recorder, paths):
    put(recorder, A, "a.txt", paths.active / A / "a.txt")
    put(recorder, B, "b.txt", paths.failed / "b.txt")
    fail(recorder, B, "b.txt")
    (paths.failed / "b.txt.failure.txt").write_text("why")
    put(recorder, C, "c.txt", paths.hold / "c~1.txt")
    recorder.record("held", id=C, why="asked for")
    recorder.record("put_away", id=C, **{"as": "c~1.txt"})
    put(recorder, D, "d.txt", paths.done / "d.txt")
    recorder.record("done", id=D, attempt=1, result=None, seconds=0)
    recorder.commit()
    (paths.active / f"{A}.work").mkdir()
    (paths.active / f"{A}.work" / "scratch").touch()
    (paths.active / ".lock").touch()
    (paths.failed / ".resumed-0123456789abcdef").touch()
    return recorder


# audit


@pytest.mark.usefixtures("conserved")
def test_what_is_conserved_agrees(say):
    status, out = say("audit")

    assert status == 0
    assert out == "4 items and 6 files looked at: all agree\n"


@pytest.mark.usefixtures("conserved")
@pytest.mark.parametrize(
    "place_of",
    ["active/" + A + "/a.txt", "failed/b.txt", "hold/c~1.txt"],
    ids=["active", "failed", "hold"],  # an id of now is another one in each process
)
def test_a_file_that_was_taken_away_is_missing(say, paths, place_of):
    (paths.spool / place_of).unlink()

    status, out = say("audit", "--json")

    assert status == 1
    [told] = [json.loads(line) for line in out.splitlines()]
    assert (told["kind"], told["place"]) == ("missing", str(paths.spool / place_of))
    assert say("audit")[1].endswith("1 discrepancy\n")


def test_the_note_about_a_file_with_the_longest_name_is_known(say, paths, recorder):
    name = "n" * 255
    put(recorder, A, name, paths.failed / name)
    fail(recorder, A, name)
    (paths.failed / sidecar.name_for(name)).write_text("why")
    recorder.commit()

    assert say("audit") == (0, "1 item and 2 files looked at: all agree\n")


@pytest.mark.usefixtures("conserved")
def test_another_file_in_the_place_is_not_the_item(say, paths):
    (paths.failed / "b.txt").rename(paths.spool / "elsewhere")
    (paths.failed / "b.txt").write_text("another")

    status, out = say("audit")

    assert status == 1
    assert "b.txt: another file is in its place" in out


@pytest.mark.usefixtures("conserved")
@pytest.mark.parametrize(
    "place_of",
    ["active/" + B + "/x", "failed/x", "hold/x\x1b", "failed/d/x"],
    ids=["active", "failed", "hold", "below"],
)
def test_a_file_that_no_record_knows_is_told(say, paths, place_of):
    (paths.spool / place_of).parent.mkdir(exist_ok=True)
    (paths.spool / place_of).touch()
    if place_of.startswith("active"):
        (paths.spool / place_of).rename(paths.active / B / "x")
        (paths.active / B).rename(paths.active / "0123456789a-0123456789")

    status, out = say("audit")

    assert status == 1
    assert "no record speaks of it" in out
    assert "\x1b" not in out


def test_fewer_counted_than_told_of_is_a_discrepancy(say, conserved):
    conserved.ledger.counts = {}
    conserved.compact()

    status, out = say("audit")

    assert status == 1
    assert "the journal counts 0, the history tells of 1 done" in out


def test_what_is_being_moved_is_looked_at_again(paths, conserved):
    hidden = paths.spool / "hidden"
    (paths.failed / "b.txt").rename(hidden)
    turns = []

    def sleep(_):
        turns.append(1)
        if len(turns) == 2:
            hidden.rename(paths.failed / "b.txt")

    found = audit.audit(paths, sleep)

    assert (found.discrepancies, len(turns)) == ((), 2)
    assert conserved.ledger.items


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_who_may_not_look_is_refused(paths):
    paths.active.chmod(0)

    with pytest.raises(RefusedError):
        audit.audit(paths)


# health


@pytest.mark.usefixtures("conserved", "up")
def test_a_daemon_that_takes_what_comes_is_ok(say):
    status, out = say("health")

    assert status == 0
    assert out.startswith("RESUMED OK - takes what comes | running=0 ")
    assert re.search(r"failed=1 .*ever_done=1c .*last_arrival_seconds=[\d.]+s", out)


@pytest.mark.usefixtures("conserved")
def test_a_daemon_that_is_down_is_critical(say):
    status, out = say("health", "--json")

    assert status == 2
    assert json.loads(out)["why"] == ["the daemon is not running"]


@pytest.mark.usefixtures("conserved", "up")
@pytest.mark.parametrize(
    ("expect", "why"),
    [
        ('every = "1ms"', r"nothing came for \d+.*, one is expected every 1ms"),
        ('oldest_pending = "1ms"', r"an item has been waiting for"),
        ("growing_failures = 1", r"1 items failed within an hour"),
    ],
)
def test_what_is_not_as_expected_is_a_warning(say, home, expect, why):
    home.configure(f'handler = "handler:process"\n[expect]\n{expect}\n')

    status, out = say("health")

    assert status == 1
    assert re.search(rf"RESUMED WARNING - {why}", out)


@pytest.mark.usefixtures("conserved", "up")
def test_a_pause_is_a_warning(say, conserved):
    conserved.record("paused", by="0")
    conserved.commit()

    assert say("health")[0] == 1


@pytest.mark.usefixtures("up")
def test_a_journal_that_needs_a_person_is_critical(say, paths, conserved):
    conserved.record("paused", by="0")
    conserved.commit()
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(b"".join([lines[0], b"x" * 40 + b"\n", *lines[2:]]))

    status, out = say("health")

    assert status == 2
    assert "RESUMED CRITICAL" in out


@pytest.mark.usefixtures("conserved", "up")
def test_a_configuration_with_mistakes_is_a_warning_on_the_one_line(say, home):
    home.configure('handler = "handler:process"\nwokers = 2\nsetle = 1\n')

    status, out = say("health")

    assert status == 1
    assert re.fullmatch(r"RESUMED WARNING - .*'wokers'; .*'setle'; .* \| running=0 .*\n", out)


def test_a_configuration_that_does_not_tell_where_to_look_is_unknown(say, home):
    home.configure('[paths]\nspool = "here\n')

    status, out = say("health")

    assert status == 3
    assert re.fullmatch(r"RESUMED UNKNOWN - \S+resumed.toml:2: is not TOML: .*\n", out)


# metrics


@pytest.mark.usefixtures("conserved", "up")
def test_metrics_are_what_prometheus_reads(say):

    status, out = say("metrics")

    families = {each.name: each for each in text_string_to_metric_families(out)}
    assert status == 0
    assert families["resumed_up"].samples[0].value == 1
    assert families["resumed_ended_items"].type == "counter"
    states = {s.labels["state"]: s.value for s in families["resumed_items"].samples}
    assert (states["failed"], states["held"], states["pending"]) == (1, 1, 1)


@pytest.mark.usefixtures("conserved", "up")
def test_metrics_as_json_are_the_numbers_of_health(say):
    status, out = say("metrics", "--json")

    numbers = json.loads(out)
    assert status == 0
    assert (numbers["failed"], numbers["held"], numbers["pending"]) == (1, 1, 1)


@pytest.mark.usefixtures("conserved")
def test_metrics_as_json_and_a_file_are_one_too_many(say, home):
    status, _ = say("metrics", "--json", "-o", str(home.path / "x.prom"))

    assert status == 2
    assert not (home.path / "x.prom").exists()


@pytest.mark.usefixtures("conserved", "up")
def test_each_expectation_is_a_metric(say, home):
    home.configure('handler = "handler:process"\n[expect]\nevery = "1d"\ngrowing_failures = 1\n')

    _, out = say("metrics")

    families = {each.name: each for each in text_string_to_metric_families(out)}
    alarms = {each.labels["expect"]: each.value for each in families["resumed_alarm"].samples}
    assert alarms == {"every": 0, "growing_failures": 1}


def test_metrics_need_no_sound_configuration(say, home):
    home.configure("handler = 1\n")

    status, out = say("metrics")

    assert status == 0
    assert "resumed_alarm" not in out


@pytest.mark.usefixtures("conserved")
def test_metrics_replace_their_file_whole(say, home):
    target = home.path / "resumed.prom"
    target.write_text("old")

    assert say("metrics", "-o", str(target)) == (0, "")

    assert target.read_text().startswith("# TYPE resumed_up gauge\n")
    assert target.read_text().endswith("# EOF\n")
    assert "resumed_up 0\n" in target.read_text()
    assert sorted(home.path.glob("*.prom*")) == [target]


# doctor


@pytest.mark.usefixtures("paths")
def test_a_sound_instance_has_nothing_wrong(say):
    status, out = say("doctor", "--json")

    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0, out
    assert {each["about"] for each in told} >= {"inbox", "check", "lease", "inotify", "clock"}
    assert "wrong" not in {each["verdict"] for each in told}


def test_what_check_refuses_is_wrong(say, home, paths):
    home.configure('handler = "nowhere:process"\n')
    paths.active.chmod(0o777)

    status, out = say("doctor")

    assert status == 1
    assert "nowhere" in out
    assert "is open to others" in out


def test_too_little_space_is_wrong_and_a_clock_set_back_a_warning(say, home, paths):
    home.configure('handler = "handler:process"\nreserve = "10000T"\n')
    recorder = Recorder(paths, lambda: time.time() + 3600, lambda bits: bits)
    recorder.close()

    status, out = say("doctor")

    assert status == 1
    assert "below reserve" in out
    assert "was the clock set back?" in out


def test_a_folder_that_is_missing_is_wrong_and_the_rest_is_tried(say, home, paths):
    home.inbox.rmdir()

    status, out = say("doctor")

    assert status == 1
    assert f"{home.inbox}" in out
    assert "clock" in out
    assert paths.state.exists()


def test_the_kind_of_a_file_system_is_that_of_the_longest_mount(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    rows = ["1 0 0:1 / / rw - ext4 /dev/x rw", f"2 1 0:2 / {tmp_path}/a\\040b rw - nfs4 x:/ rw"]
    table.write_text("\n".join(rows))
    monkeypatch.setattr(doctor, "MOUNTS", table)
    (tmp_path / "a b" / "in").mkdir(parents=True)

    assert doctor.kind_of(tmp_path / "a b" / "in") == "nfs4"
    assert doctor.kind_of(tmp_path) == "ext4"


@pytest.mark.parametrize("name", [b"r\xc3\xa9sum\xc3\xa9", b"no text \xff", b"back\\slash\r"])
def test_a_mount_may_have_any_name(tmp_path, monkeypatch, name):
    place = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(place)
    escaped = place.replace(b"\\", b"\\134").replace(b" ", b"\\040")
    table = tmp_path / "mountinfo"
    rows = (b"1 0 0:1 / / rw - ext4 /dev/x rw", b"2 1 0:2 / %s rw - nfs4 x:/ rw" % escaped)
    table.write_bytes(b"\n".join(rows) + b"\n")
    monkeypatch.setattr(doctor, "MOUNTS", table)

    assert doctor.kind_of(Path(os.fsdecode(place))) == "nfs4"


@pytest.mark.usefixtures("paths")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("nfs4", ("warning", "by scan")), ("vfat", ("wrong", "choose another disk"))],
)
def test_file_systems_that_surprise_are_told(say, tmp_path, monkeypatch, kind, expected):
    verdict, words = expected
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:1 / / rw - {kind} /dev/x rw\n")
    monkeypatch.setattr(doctor, "MOUNTS", table)

    _, out = say("doctor", "--json")

    told = [json.loads(line) for line in out.splitlines()]
    assert [each for each in told if each["verdict"] == verdict and words in each["sentence"]]
