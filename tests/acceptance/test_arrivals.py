"""Write one file slowly, in every way that producers have: it is processed once, and whole."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LINES = 1000
LINE_SECONDS = 0.01
TEXT = "".join(f"line {number} of {LINES}\n" for number in range(LINES))

HANDLER = """
import os


def process(item):
    content = open(item.path, "rb").read()
    log = os.open(os.environ["ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, f"{item.name} {len(content.splitlines())}{chr(10)}".encode())
    os.close(log)
"""

Producer = Callable[[Path], None]


def lines() -> list[bytes]:
    return TEXT.encode().splitlines(keepends=True)


def write_slowly(descriptor: int, some: list[bytes]) -> None:
    for line in some:
        os.write(descriptor, line)
        time.sleep(LINE_SECONDS)


def in_place(inbox: Path) -> None:
    with (inbox / "in-place").open("wb", buffering=0) as out:
        write_slowly(out.fileno(), lines())


def reopened(inbox: Path) -> None:
    every = round(0.3 / LINE_SECONDS)
    for first in range(0, LINES, every):
        with (inbox / "reopened").open("ab", buffering=0) as out:
            write_slowly(out.fileno(), lines()[first : first + every])
        time.sleep(LINE_SECONDS)


def renamed_in(inbox: Path) -> None:
    with (inbox / "renamed-in.part").open("wb", buffering=0) as out:
        write_slowly(out.fileno(), lines())
    (inbox / "renamed-in.part").rename(inbox / "renamed-in")


def linked_in(inbox: Path) -> None:
    elsewhere = inbox.parent / "being-linked"
    with elsewhere.open("wb", buffering=0) as out:
        write_slowly(out.fileno(), lines()[: LINES // 2])
        os.link(elsewhere, inbox / "linked-in")
        elsewhere.unlink()
        write_slowly(out.fileno(), lines()[LINES // 2 :])


def copied_with_an_old_mtime(inbox: Path) -> None:
    with (inbox / "old-mtime").open("wb", buffering=0) as out:
        for line in lines():
            write_slowly(out.fileno(), [line])
            os.utime(out.fileno(), (1e9, 1e9))


TO_A_RUNNING_DAEMON = [in_place, reopened, renamed_in, linked_in, copied_with_an_old_mtime]


@pytest.fixture
def oracle(home, tmp_path, monkeypatch) -> Path:
    home.configure('handler = "handler:process"\nsettle = "500ms"\n', handler=HANDLER)
    monkeypatch.setenv("ORACLE", str(tmp_path / "oracle"))
    (tmp_path / "oracle").touch()
    return tmp_path / "oracle"


def produce(producers: list[Producer], inbox: Path) -> list[threading.Thread]:
    threads = [threading.Thread(target=each, args=[inbox]) for each in producers]
    for each in threads:
        each.start()
    return threads


def end(threads: list[threading.Thread]) -> None:
    for each in threads:
        each.join()


def test_a_slow_file_is_taken_once_and_whole_however_it_comes(home, daemon, oracle, wait_until):
    daemon()

    end(produce(TO_A_RUNNING_DAEMON, home.inbox))

    wait_until(lambda: home.ended() == len(TO_A_RUNNING_DAEMON), 10)
    names = {"in-place", "reopened", "renamed-in", "linked-in", "old-mtime"}
    assert set(home.names("done")) == names
    assert all((home.done / name).read_text() == TEXT for name in names)
    assert sorted(oracle.read_text().splitlines()) == sorted(f"{name} {LINES}" for name in names)


def test_a_daemon_started_in_the_middle_of_the_writing_waits(home, daemon, oracle, wait_until):
    writing = produce([in_place, reopened], home.inbox)
    wait_until(lambda: size_of(home.inbox / "in-place") > len(TEXT) / 3)
    daemon()
    assert all(each.is_alive() for each in writing)

    end(writing)

    wait_until(lambda: home.ended() == 2, 10)
    assert (home.done / "in-place").read_text() == TEXT
    assert (home.done / "reopened").read_text() == TEXT
    assert sorted(oracle.read_text().splitlines()) == [f"in-place {LINES}", f"reopened {LINES}"]


def test_a_drain_started_in_the_middle_of_the_writing_leaves_it(home, drain, oracle, wait_until):
    writing = produce([in_place, reopened], home.inbox)
    wait_until(lambda: size_of(home.inbox / "in-place") > len(TEXT) / 3)
    (home.inbox / "ready").write_text("a file that is ready\n")

    early = drain("--strict")
    assert all(each.is_alive() for each in writing)
    end(writing)
    late = drain("--strict")

    assert early.returncode == 4, early.stderr
    assert "2 not ready" in early.stdout + early.stderr
    assert late.returncode == 0, late.stderr
    assert (home.done / "in-place").read_text() == TEXT
    assert (home.done / "reopened").read_text() == TEXT
    assert oracle.read_text().splitlines()[0] == "ready 1"
    assert sorted(oracle.read_text().splitlines()[1:]) == [
        f"in-place {LINES}",
        f"reopened {LINES}",
    ]


def size_of(path):
    return path.stat().st_size if path.exists() else 0
