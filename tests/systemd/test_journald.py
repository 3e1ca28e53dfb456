"""Read what the service tells systemd's journal, the way an administrator asks for it."""

import re

import pytest
from machine import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(120)]


def test_an_item_is_found_by_its_name_and_event(service):
    service.start()
    service.drop("invoice 612.pdf")
    service.drop("zwölf\n日本", "fail\n")
    until(lambda: len(service.names("done") + service.names("failed")) == 2, "both ended")

    (done,) = service.entries("RESUMED_ITEM=invoice 612.pdf", "RESUMED_EVENT=done")
    (failed,) = service.entries("RESUMED_EVENT=failed")

    assert done["PRIORITY"] == "6"
    assert failed["PRIORITY"] == "3"
    assert done["SYSLOG_IDENTIFIER"] == "resumed"
    assert "RESUMED_ITEM" in failed
    assert "\n" not in failed["MESSAGE"].split(":")[0]


def test_the_catalog_explains_a_failure_and_names_the_next_command(service):
    service.start()
    service.drop("broken.pdf", "fail\n")
    service.await_end("broken.pdf")
    until(lambda: service.entries("RESUMED_EVENT=failed"), "it is told")

    told = service.run("journalctl", "--no-pager", "-x", "RESUMED_EVENT=failed").stdout

    assert "resumed-ctl retry broken.pdf" in told


def test_the_traceback_of_a_handler_is_one_entry(service):
    service.start()
    service.drop("broken.pdf", "fail\n")
    service.await_end("broken.pdf")
    until(lambda: service.entries("RESUMED_EVENT=failed"), "it is told")

    about = [entry for entry in service.entries() if "meant to fail" in str(entry["MESSAGE"])]

    assert about
    assert all(entry["PRIORITY"] in {"3", "4"} for entry in about)
    assert not [e for e in service.entries() if re.match(r"\s+File ", str(e["MESSAGE"]))]


def test_an_instance_has_an_identifier_of_its_own(service):
    service.start()

    assert {
        entry["SYSLOG_IDENTIFIER"] for entry in service.entries("_SYSTEMD_UNIT=resumed.service")
    } == {"resumed"}


def test_manual_pages_are_installed_and_sound(installed):
    for page in ("resumed", "resumed-ctl", "resumed.toml"):
        assert installed.run("man", "--warnings", page).stderr == ""
