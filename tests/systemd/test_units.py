"""Hold the units against each other, against the program and against systemd's own opinion."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from resumed import errors
from resumed.events import EVENTS

TREE = Path(__file__).parents[2]
UNITS = TREE / "systemd"
SERVICES = ("resumed.service", "resumed@.service", "resumed-drain.service")
NEEDS_A_PERSON = {errors.EXIT_USAGE, errors.EXIT_NEEDS_A_PERSON}

needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze"
)


def settings(unit, name):
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def sandbox(unit):
    """Return the settings between the two marks, without comments and instance names."""
    text = (UNITS / unit).read_text().replace("resumed-%i", "resumed")
    inside = text.split("# -- sandbox")[1].split("# -- end of sandbox --")[0]
    return [line for line in inside.splitlines()[1:] if not line.startswith("#")]


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="needs systemd-tmpfiles")
def test_what_was_goes_with_age_and_nothing_that_is_needed(tmp_path):
    lines = (UNITS / "resumed.tmpfiles").read_text().splitlines()
    rules = [line for line in lines if line.startswith("e ")]
    state = tmp_path / "var/lib/resumed"
    kept = ["journal.jsonl", "jobs/1-a.jsonl", "history/2026-11-22.jsonl"]
    for name in (*kept, "history/2024-01-01.jsonl", "jobs/archive/1-b.jsonl"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).touch()
        if name != kept[-1]:
            os.utime(state / name, (1, 1))

    def clean(rules):
        path = tmp_path / "rules.conf"
        path.write_text("\n".join(rules) + "\n")
        subprocess.run(["systemd-tmpfiles", f"--root={tmp_path}", "--clean", path], check=True)
        return sorted(str(each.relative_to(state)) for each in state.rglob("*.jsonl"))

    # A journal that a job's end has just moved there is new, however old its last record.
    assert clean(rules) == sorted([*kept, "jobs/archive/1-b.jsonl"])
    until = time.monotonic() + 30
    while clean([each.replace("cm:365d", "cm:1s") for each in rules]) != sorted(kept):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("unit", SERVICES[1:])
def test_the_sandbox_is_the_same_in_all_units(unit):
    assert sandbox(unit) == sandbox(SERVICES[0])


def test_instances_are_served_as_the_service_itself():
    differing = {"ExecCondition", "ExecStartPre", "ExecStart", "ExecReload", "Description"}

    def rest(unit):
        lines = (UNITS / unit).read_text().replace("-%i", "").splitlines()
        return [
            ln for ln in lines if "=" in ln and ln[0] != "#" and ln.split("=")[0] not in differing
        ]

    assert rest("resumed@.service") == rest("resumed.service")


@pytest.mark.parametrize("unit", SERVICES[:2])
def test_a_restart_is_not_tried_where_only_a_person_helps(unit):
    (prevented,) = settings(unit, "RestartPreventExitStatus")

    assert {int(status) for status in prevented.split()} == NEEDS_A_PERSON


def test_a_drain_that_finds_the_lock_taken_is_no_failure():
    (fine,) = settings("resumed-drain.service", "SuccessExitStatus")

    assert str(errors.EXIT_LOCKED) in fine.split()
    assert not {str(status) for status in NEEDS_A_PERSON} & set(fine.split())


@pytest.mark.parametrize("unit", SERVICES)
def test_no_unit_takes_anything_from_another(unit):
    assert not settings(unit, "Conflicts")
    assert not settings(unit, "RuntimeDirectory")


@pytest.mark.parametrize("unit", SERVICES)
def test_the_lease_is_the_only_capability(unit):
    assert settings(unit, "AmbientCapabilities") == ["CAP_LEASE"]
    assert settings(unit, "CapabilityBoundingSet") == ["CAP_LEASE"]


def test_every_drop_in_is_explained():
    explained = (UNITS / "drop-ins/README").read_text()

    for drop_in in (UNITS / "drop-ins").glob("*.conf"):
        assert f"    {drop_in.name} " in explained
        assert drop_in.read_text().startswith("# ")


def test_the_catalog_explains_exactly_the_events_that_have_a_message_id():
    text = (UNITS / "resumed.catalog").read_text()

    entries = dict(re.findall(r"^# ([a-z_]+)\n-- ([0-9a-f]{32})$", text, re.MULTILINE))

    assert entries == {name: event.message_id for name, event in EVENTS.items() if event.message_id}
    assert text.count("\n-- ") == len(entries)


def test_each_entry_of_the_catalog_names_a_next_command():
    entries = (UNITS / "resumed.catalog").read_text().split("\n-- ")[1:]

    for entry in entries:
        assert re.search(r"^    (resumed|systemctl|journalctl)", entry, re.MULTILINE), entry


# systemd's own opinion


def analyzed(*arguments):
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def assembled(tmp_path):
    """Lay the units out as they are installed, with programs that exist."""
    for unit in UNITS.glob("resumed*.*"):
        if unit.suffix in {".service", ".timer", ".path"}:
            text = unit.read_text().replace("/usr/bin/resumed", "/bin/true ")
            (tmp_path / unit.name).write_text(text)
    return tmp_path


@needs_analyze
@pytest.mark.parametrize(
    "unit", ["resumed.service", "resumed@x.service", "resumed-drain.timer", "resumed-drain.path"]
)
def test_systemd_finds_nothing_to_say(assembled, unit):
    (assembled / "resumed@x.service").write_text((assembled / "resumed@.service").read_text())

    verified = analyzed("verify", "--man=no", assembled / unit)

    ours = [line for line in verified.stderr.splitlines() if str(assembled) in line]
    assert not ours
    assert "resumed" not in verified.stderr


def exposure(unit):
    """Return systemd's score, ten times, as its threshold is given."""
    said = analyzed("security", "--offline=true", "--no-pager", unit).stdout
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    return round(float(score) * 10)


@needs_analyze
@pytest.mark.parametrize("unit", SERVICES)
def test_the_exposure_is_at_most_1_6_while_a_handler_may_be_any_program(assembled, unit):
    assert exposure(assembled / unit) <= 16


@needs_analyze
@pytest.mark.parametrize(("drop_in", "limit"), [("hardened", 6), ("no-network", 8)])
def test_a_drop_in_closes_what_it_says(assembled, drop_in, limit):
    unit = assembled / "resumed.service"
    closed = (UNITS / f"drop-ins/{drop_in}.conf").read_text()
    unit.write_text(f"{unit.read_text()}\n{closed}")

    assert exposure(unit) <= limit
