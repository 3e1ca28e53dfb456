"""How an instance is put together: its locks, its folders, its own name for its ctl."""

import dataclasses
import os
import random
import time
from pathlib import Path

import pytest

from resumed import alive, config, durable, parts
from resumed.errors import ConfigError, LockedError, StorageError
from resumed.parts import Clocks, Locks


@pytest.fixture
def settings(home):
    return config.load(None, home=home.path)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


# ids


def test_an_id_begins_with_its_time_and_is_not_made_twice():
    clocks = Clocks(lambda: 1763812800.25, time.monotonic, random.Random(1).getrandbits)

    ids = {clocks.mint() for _ in range(1000)}

    assert len(ids) == 1000
    assert {each.partition("-")[0] for each in ids} == {f"{1763812800250:011x}"}


def test_a_clock_before_the_epoch_makes_ids_all_the_same():
    assert Clocks(lambda: -5.0, time.monotonic, lambda _: 1).mint() == f"{0:011x}-{1:010x}"


# locks


@pytest.mark.parametrize("which", ["state/lock", "active/.lock"])
def test_a_second_instance_is_kept_out_by_either_lock(settings, home, which):
    before = open_descriptors()
    with (home.path / which).open("w") as other:
        durable.lock(other.fileno())

        with pytest.raises(LockedError, match="another instance is at work here"):
            Locks(settings.paths)
    assert open_descriptors() == before

    Locks(settings.paths).close()
    assert open_descriptors() == before


def test_whoever_has_just_taken_the_locks_does_not_look_hung(settings):
    Locks(settings.paths).close()
    os.utime(settings.paths.lock, (0, 0))

    locks = Locks(settings.paths)

    assert alive.probe(settings.paths.lock, time.time()).state == "up"
    locks.close()


def test_the_touch_of_a_lock_is_seen_by_everybody(settings):
    locks = Locks(settings.paths)
    os.utime(settings.paths.lock, (0, 0))

    locks.touch()
    locks.close()

    assert settings.paths.lock.stat().st_mtime > 0


def test_a_disk_that_refuses_a_lock_ends_the_program(settings, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    before = open_descriptors()

    with pytest.raises(StorageError, match="No locks available"):
        Locks(settings.paths)

    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("environ", "remedy"),
    [
        ({}, "make the folder, or mend [paths]; 'resumed check' tells more"),
        ({"INVOCATION_ID": "1"}, "let the unit's sandbox show it by ReadWritePaths="),
    ],
)
def test_a_missing_folder_is_a_mistake_with_the_remedy_for_who_started_us(
    settings, home, monkeypatch, environ, remedy
):
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    home.active.rmdir()
    before = open_descriptors()

    with pytest.raises(ConfigError) as caught:
        Locks(settings.paths)

    [mistake] = caught.value.mistakes
    assert mistake.file == home.active / ".lock"
    assert remedy in mistake.text
    assert open_descriptors() == before


def test_a_lock_that_is_a_symlink_is_not_followed(settings, home):
    (home.path / "precious").write_text("text")
    settings.paths.lock.symlink_to(home.path / "precious")

    with pytest.raises(ConfigError):
        Locks(settings.paths)


# folders


def test_the_folders_of_the_state_are_made_once_with_their_modes(settings):
    parts.make_folders(settings.paths)
    settings.paths.jobs.chmod(0o700)

    parts.make_folders(settings.paths)

    folders = (settings.paths.history, settings.paths.jobs, settings.paths.requests)
    modes = [oct(folder.stat().st_mode & 0o7777) for folder in folders]
    assert modes == ["0o750", "0o700", "0o3730"]


def test_a_folder_that_cannot_be_made_is_a_mistake(settings, home):
    home.state.rmdir()
    home.state.write_text("a file is in its place")

    with pytest.raises(ConfigError, match="cannot be made: Not a directory"):
        parts.make_folders(settings.paths)


def test_a_missing_state_is_told_with_what_to_do(settings, home):
    home.state.rmdir()

    with pytest.raises(ConfigError) as told:
        parts.make_folders(settings.paths)

    advice = "No such file or directory: make the folder, or mend [paths]"
    assert str(told.value).startswith(f"{home.state}: {advice}")


# names


def test_advice_names_the_ctl_of_this_very_instance(settings, tmp_path):
    elsewhere = dataclasses.replace(settings, folder=tmp_path, file=tmp_path / "x.toml")
    default = dataclasses.replace(settings, file=Path("/etc/resumed/resumed.toml"))

    assert parts.ctl(settings) == f"resumed-ctl --home {settings.folder}"
    assert parts.ctl(elsewhere) == f"resumed-ctl -c {tmp_path}/x.toml"
    assert parts.ctl(default) == "resumed-ctl"
