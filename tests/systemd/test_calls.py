"""Let the service call for a person: by commands for items and alarms, by a unit for itself."""

import json
import re

import pytest
from conftest import CONFIGURATION, STATE, Service
from machine import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(120)]

TOLD = f"{STATE}/told"
TELL = f"""#!/bin/sh
{{
    echo "parent $PPID"
    for word; do echo "word $word"; done
    env | sort
    grep ^Cap /proc/self/status
    echo end
}} >>{TOLD}
"""


@pytest.fixture
def caller(service: Service) -> Service:
    service.machine.write("/etc/resumed/tell", TELL, mode=0o755)
    return service


def told(service: Service) -> list[str]:
    """Wait for the end of what the command wrote, and return its lines."""
    file = service.machine.inside(TOLD)
    until(lambda: file.exists() and file.read_text().endswith("end\n"), "the command ran")
    return file.read_text().splitlines()


def test_a_command_is_told_of_an_item_that_failed(caller):
    caller.configure('on_failure = ["/etc/resumed/tell", "{name}", "{path}", "{error}"]')
    caller.start()
    name = "in voice; touch pwned $(id).pdf"

    caller.drop(name, "fail\n")

    lines = told(caller)
    words = [line.removeprefix("word ") for line in lines if line.startswith("word ")]
    assert words[0] == name
    assert words[1].endswith(name)
    assert "meant to fail" in words[2]
    assert f"RESUMED_NAME={name}" in lines
    assert f"parent {caller.main_pid}" in lines
    assert not [line for line in lines if line.startswith(("NOTIFY_SOCKET", "WATCHDOG_"))]
    assert "CapEff:\t0000000000000000" in lines
    assert not caller.machine.inside(f"{STATE}/pwned").exists()


def test_a_command_that_hangs_or_is_missing_holds_nothing_up(caller):
    caller.configure('on_failure = ["sh", "-c", "exec sleep 4711"]')
    caller.start()
    for turn in range(6):
        caller.drop(f"failing {turn}", "fail\n")
    caller.await_end(*(f"failing {turn}" for turn in range(6)))
    until(lambda: caller.run("pgrep", "-f", "sleep 4711", check=False).stdout, "they hang")

    caller.drop("fine")
    caller.await_end("fine")
    caller.stop()
    assert caller.run("pgrep", "-f", "sleep 4711", check=False).stdout == ""

    caller.configure('on_failure = ["/does/not/exist"]')
    caller.start()
    caller.drop("failing again", "fail\n")
    until(lambda: caller.entries("RESUMED_EVENT=hook_failed"), "it is told")
    assert caller.active()


def test_a_command_is_told_of_an_alarm_once(caller):
    caller.drop_in("[Service]\nWatchdogSec=1s")
    expect = '\n[expect]\nevery = "1s"\n'
    caller.configure('on_alarm = ["/etc/resumed/tell", "{why}"]', text=f"{CONFIGURATION}{expect}")
    caller.start()

    lines = told(caller)

    (alarm,) = caller.entries("RESUMED_EVENT=alarm")
    (word,) = [line for line in lines if line.startswith("word ")]
    assert re.fullmatch(r"word nothing came for [0-9.]+s, one is expected every 1s", word)
    assert word.removeprefix("word ") in str(alarm["MESSAGE"])


def test_a_unit_is_started_when_the_service_needs_a_person(caller):
    text = caller.run("cat", "/usr/share/doc/resumed/drop-ins/on-failure.conf").stdout
    mail = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >/run/mailed'\n"
    caller.machine.write("/run/systemd/system/status-mail@.service", mail)
    caller.drop_in(text)
    caller.configure(text="handler = \n")

    assert caller.run("systemctl", "start", "resumed", check=False).returncode != 0

    mailed = caller.machine.inside("/run/mailed")
    until(lambda: mailed.exists() and mailed.read_text(), "the unit ran")
    assert mailed.read_text() == "resumed.service\n"


def test_the_doctor_finds_nothing_wrong_with_the_unit_as_installed(service):
    service.start()

    found = [json.loads(line) for line in service.ctl("doctor", "--json").splitlines()]

    assert [each for each in found if each["verdict"] == "wrong"] == []
    (unit,) = [each for each in found if each["about"] == "unit"]
    assert unit["verdict"] == "fine", unit


def test_the_doctor_names_what_a_drop_in_took_away(service):
    service.drop_in("[Service]\nProtectHome=no\n")
    service.start()

    assert "ProtectHome= is not set, so a handler sees everybody's home" in service.ctl("doctor")
