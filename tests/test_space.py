import os

import pytest

from resumed import probe
from resumed.probe import Probe
from resumed.settings import Command, Config, Paths, PythonHandler
from resumed.space import LOOK_SECONDS, TRUST_SECONDS, Intermission


@pytest.fixture
def told():
    return []


@pytest.fixture
def made(tmp_path, told):
    def make(**settings):
        paths = Paths.below(tmp_path, tmp_path)
        config = Config(
            file=tmp_path / "resumed.toml",
            folder=tmp_path,
            handler=PythonHandler("m", "f"),
            paths=paths,
            **{"reserve_bytes": 0, **settings},
        )
        return config, Intermission(config, lambda event, **fields: told.append((event, fields)))

    return make


def test_a_disk_below_the_reserve_pauses_and_is_told_once(made, told):
    _, space = made(reserve_bytes=1 << 60)

    assert space.look(0.0)
    assert space.look(LOOK_SECONDS)

    ((event, fields),) = told
    assert event == "intake_paused"
    assert "are kept in reserve" in fields["why"]
    assert space.due() == 2 * LOOK_SECONDS


def test_it_is_told_that_the_pause_is_over_as_soon_as_that_is_seen(made, told):
    config, space = made(reserve_bytes=1 << 60)
    space.look(0.0)

    space.use(type(config)(**{**vars_of(config), "reserve_bytes": 0}))
    assert not space.look(1.0)
    assert not space.look(2.0)
    space.sound()

    assert [event for event, _ in told] == ["intake_paused", "intake_resumed"]
    assert space.due() is None


def test_what_an_attempt_found_broken_is_over_when_another_went_through(made, told):
    _, space = made()
    space.broken("no such program", 0.0)
    for turn in range(3):
        space.look(TRUST_SECONDS + turn)
        space.broken("no such program", TRUST_SECONDS + turn)
    assert not space.look(4 * TRUST_SECONDS)
    assert [event for event, _ in told] == ["intake_paused"]

    space.sound()
    space.sound()

    assert [event for event, _ in told] == ["intake_paused", "intake_resumed"]


def vars_of(config):
    return {name: getattr(config, name) for name in type(config).__dataclass_fields__}


def test_a_missing_mount_pauses(made, told, tmp_path):
    _, space = made(require=(tmp_path / "mount",))

    assert space.look(0.0)
    (tmp_path / "mount").mkdir()

    assert not space.look(LOOK_SECONDS)
    assert told[0][1]["why"] == f"{tmp_path}/mount is missing"


def test_a_folder_that_is_gone_pauses(made, tmp_path):
    config, space = made()
    space.use(
        type(config)(**{**vars_of(config), "paths": Paths.below(tmp_path / "gone", tmp_path)})
    )

    assert space.look(0.0)
    assert "No such file" in space.why


def test_what_an_attempt_found_broken_is_trusted_for_a_while(made, told):
    _, space = made()

    space.broken("no space left on device", 100.0)

    assert space.on
    assert space.look(100.0 + TRUST_SECONDS / 2)
    assert not space.look(100.0 + TRUST_SECONDS)
    assert told == [("intake_paused", {"why": "no space left on device"})]


def test_a_probe_is_waited_for_and_obeyed(made, tmp_path, wait_until):
    flag = tmp_path / "down"
    flag.touch()
    _, space = made(probe=Command(("test", "!", "-e", str(flag))))
    clock = iter(range(0, 10**6, 10))

    assert space.look(next(clock))  # it has not answered yet
    assert space.why is None
    wait_until(lambda: space.look(next(clock)) and space.why)
    assert space.why == "the probe ended with status 1"
    flag.unlink()
    wait_until(lambda: not space.look(next(clock)))


def test_a_probe_that_is_missing_or_hangs_is_a_fault():
    missing = Probe(Command(("/does/not/exist",)))
    missing.turn(0.0)
    hanging = Probe(Command(("sleep", "100")))
    hanging.turn(0.0)

    hanging.turn(probe.LONGEST_SECONDS)

    assert missing.fault == "probe /does/not/exist: No such file or directory"
    assert hanging.fault == "the probe did not answer in 30 s"
    assert not hanging.pids()


def test_a_probe_is_ended_with_the_daemon():
    running = Probe(Command(("sleep", "100")))
    running.turn(0.0)
    (pid,) = running.pids()

    running.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
