"""Judge what systemctl shows of units; a real one is judged in tests/systemd."""

import stat
from pathlib import Path

import pytest

from resumed import config, hardening, place

UNITS = Path(__file__).parent.parent / "systemd"
SOUND = {name: "yes" for name, _ in hardening._WANTED} | {
    "LoadState": "loaded",
    "User": "resumed",
    "CapabilityBoundingSet": "cap_lease",
    "Type": "notify",
    "WatchdogUSec": "1min",
}


def verdicts(properties):
    return [(each.verdict, each.sentence) for each in hardening.judge("a.service", properties)]


def test_a_unit_with_all_protections_is_fine():
    assert verdicts(SOUND) == [("fine", "a.service: 10 protections are in force")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ProtectSystem": "no"}, "ProtectSystem= is not set, so a handler may write to /usr"),
        ({"WatchdogUSec": "infinity"}, "hangs is not started again"),
        ({"WatchdogUSec": "0"}, "hangs is not started again"),
        ({"SystemCallFilter": ""}, "every system call"),
        ({"User": ""}, "run as root"),
        ({"CapabilityBoundingSet": "cap_lease cap_sys_admin"}, "cap_sys_admin"),
        ({"Type": "simple"}, "Type=notify"),
    ],
)
def test_what_is_missing_is_a_warning_that_says_what_it_means(changed, words):
    [*_, found] = [each for verdict, each in verdicts(SOUND | changed) if verdict == "warning"]

    assert words in found


@pytest.mark.parametrize("unit", ["resumed.service", "resumed@.service"])
def test_the_units_that_come_with_it_have_nothing_to_warn_of(unit):
    rows = (UNITS / unit).read_text().splitlines()
    shown = dict(row.split("=", 1) for row in rows if "=" in row and row[0] != "#")
    shown |= {"LoadState": "loaded", "WatchdogUSec": shown["WatchdogSec"]}

    assert [verdict for verdict, _ in verdicts(shown)] == ["fine"]


def test_a_unit_that_is_not_there_is_no_fault():
    assert verdicts({"LoadState": "not-found"})[0][0] == "fine"


def test_without_systemd_that_is_said(home, monkeypatch, tmp_path):
    monkeypatch.setattr(hardening, "BOOTED", tmp_path / "nothing")

    [found] = hardening.unit(config.load(None, home=home.path))

    assert (found.verdict, found.about) == ("fine", "unit")
    assert found.sentence.startswith("no systemd here")


def test_the_unit_is_the_one_of_the_configuration_file(home, monkeypatch, tmp_path):
    monkeypatch.setattr(hardening, "BOOTED", tmp_path)
    monkeypatch.setattr(hardening, "DEFAULT_FILE", home.path / "other.toml")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nfor each; do :; done\necho LoadState=$each\n")
    systemctl.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    [found] = hardening.unit(config.load(None, home=home.path))

    assert "resumed@resumed.service is not there" in found.sentence
    assert place.DEFAULT_FILE.name == "resumed.toml"


def test_a_systemctl_that_fails_is_told(home, monkeypatch, tmp_path):
    monkeypatch.setattr(hardening, "BOOTED", tmp_path)
    monkeypatch.setattr(hardening, "DEFAULT_FILE", home.path / "resumed.toml")
    monkeypatch.setenv("PATH", str(tmp_path))

    [found] = hardening.unit(config.load(None, home=home.path))

    assert found.verdict == "warning"
    assert "systemctl does not tell" in found.sentence


def test_an_instance_of_its_own_has_no_unit(home, monkeypatch, tmp_path):
    monkeypatch.setattr(hardening, "BOOTED", tmp_path)

    [found] = hardening.unit(config.load(None, home=home.path))

    assert found.sentence == "no systemd unit runs this instance"
