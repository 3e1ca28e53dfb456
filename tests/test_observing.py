"""Let real producers deliver while `doctor --observe` watches, and see what it proposes."""

import json
import subprocess
import sys
import time
from pathlib import PurePath

import pytest

from resumed import config
from resumed.observing import Deliveries, Sight, propose, temporary_pattern

OBSERVED = "1500ms"
MIB = bytes(1 << 20)


@pytest.fixture
def watched(home):
    """Watch the inbox while a producer works; return the findings by what they are about."""

    def watch(produce, settings=""):
        home.configure(f'handler = "handler:process"\n{settings}')
        command = [sys.executable, "-m", "resumed.ctl", "--home", home.path, "doctor"]
        with subprocess.Popen(
            [*command, "--observe", OBSERVED, "--json"], stdout=subprocess.PIPE, text=True
        ) as doctor:
            assert "watching" in doctor.stdout.readline()
            produce(home.inbox)
            out, _ = doctor.communicate(timeout=30)
        assert doctor.returncode == 0
        told = [json.loads(line) for line in out.splitlines()]
        return {each["about"]: (each["verdict"], each["sentence"]) for each in told}

    return watch


def test_a_plain_copy_needs_nothing_but_what_is_configured(watched, tmp_path):
    (tmp_path / "a.jpg").write_bytes(MIB)

    found = watched(lambda inbox: subprocess.run(["cp", tmp_path / "a.jpg", inbox], check=True))

    assert found["observe"] == (
        "fine",
        "1 file of 1 MiB to 1 MiB delivered, 0 of them by rename",
    )
    assert found["settle"][0] == found["ignore"][0] == found["match"][0] == "fine"
    assert 'match = ["*.jpg"]' in found["match"][1]


def test_a_writer_that_closes_and_comes_back_needs_a_longer_settle(watched):
    def produce(inbox):
        for _ in range(3):
            with (inbox / "slow.csv").open("a") as file:
                file.write("row\n" * 100)
            time.sleep(0.4)

    found = watched(produce, 'settle = "100ms"\n')

    verdict, sentence = found["settle"]
    assert verdict == "warning"
    assert sentence.startswith("files lay closed for up to 0.")
    [proposed] = [
        each for each in ("800ms", "900ms", "1s", "2s") if f'settle = "{each}"' in sentence
    ]
    assert proposed


def test_a_writer_that_keeps_its_file_open_needs_no_settling(watched):
    def produce(inbox):
        with (inbox / "slow.csv").open("w") as file:
            for _ in range(3):
                file.write("row\n")
                file.flush()
                time.sleep(0.4)

    found = watched(produce, 'settle = "100ms"\n')

    assert found["settle"] == ("fine", "no file went on after it was closed; 100ms is enough")


def test_a_rename_from_a_known_name_asks_for_nothing(watched):
    def produce(inbox):
        (inbox / "a.jpg.part").write_bytes(MIB)
        time.sleep(0.3)
        (inbox / "a.jpg.part").rename(inbox / "a.jpg")

    found = watched(produce)

    assert found["observe"][1].endswith("1 of them by rename")
    assert found["ignore"][0] == "fine"


def test_a_rename_from_an_unknown_name_is_to_be_ignored(watched):
    def produce(inbox):
        for name in ("a", "b"):
            (inbox / f"{name}.jpg.incoming").write_bytes(MIB)
            time.sleep(0.2)
            (inbox / f"{name}.jpg.incoming").rename(inbox / f"{name}.jpg")

    found = watched(produce, 'ignore = ["*.draft"]\n')

    assert found["ignore"][0] == "warning"
    assert found["ignore"][1].endswith('set ignore = ["*.draft", "*.incoming"]')


def test_what_match_keeps_out_is_told(watched):
    found = watched(lambda inbox: (inbox / "a.txt").write_text("text"), 'match = ["*.jpg"]\n')

    assert found["match"][0] == "warning"
    assert "a.txt" in found["match"][1]


def test_what_lay_there_before_was_not_delivered(home, watched):
    (home.inbox / "old.txt").write_text("text")

    found = watched(lambda _: None)

    assert found["observe"] == (
        "warning",
        "nothing was delivered within 1.5s: watch while producers work",
    )


def test_a_span_that_is_none_is_a_mistake_of_usage(ctl):
    assert "--observe" in ctl("doctor", "--observe", "soon", status=2).stderr


@pytest.mark.parametrize(
    ("name", "final", "pattern"),
    [
        ("a.jpg.new", "a.jpg", "*.new"),
        ("tmp-a.jpg", "a.jpg", "tmp-*"),
        ("a.wip", "a.jpg", "*.wip"),
        ("x81.upl", "a.jpg", "*.upl"),
        ("incoming", "a.jpg", "incoming"),
    ],
)
def test_a_pattern_fits_the_name_and_not_the_final_one(name, final, pattern):
    assert temporary_pattern(name, final) == pattern
    assert PurePath(name).match(pattern)
    assert not PurePath(final).match(pattern)


def test_a_file_is_the_same_under_each_of_its_names():
    deliveries = Deliveries([])
    for at, name in enumerate(("a", "b", "a")):
        deliveries.see(Sight(float(at), name, (1, 2), 10, 5, open=False))

    [delivery] = deliveries

    assert delivery.names == ["a", "b", "a"]
    assert delivery.gap_seconds == 0


def test_hostile_names_are_told_escaped(home):
    deliveries = Deliveries([])
    deliveries.see(Sight(0.0, "a.\x1b[2J", (1, 2), 10, 5, open=False))
    deliveries.see(Sight(1.0, "a.jpg", (1, 2), 10, 5, open=False))

    found = list(propose(deliveries, config.load(None, home=home.path), 1.0))

    assert all("\x1b" not in each.sentence for each in found)
