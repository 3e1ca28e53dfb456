"""Drop what no reasonable person drops: each has a clear outcome, and nothing is harmed."""

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

HOSTILE = [
    b"new\nline",
    b"carriage\rreturn",
    b"tab\tbed",
    b"\x1b[31mred\x1b[0m\x07",
    b"c1 \xc2\x9b31m",
    b"not utf-8 \xff\xfe",
    "bidi \u202egnp.exe".encode(),
    "caf\u00e9".encode(),  # composed
    "cafe\u0301".encode(),  # decomposed: another file
    b"-rf",
    b"--help",
    b" leading blank",
    b"trailing blank ",
    b" ",
    b"$(touch pwned) `touch pwned` ; touch pwned",
    b"%s%n {path} {0}",
    b"*?[a-z]\\",
    b"\"quotes' and more",
    "line\u2028paragraph\u2029".encode(),
    b"x\nSTOPPING=1\nREADY=1",
    "\u9577".encode() * 85,  # 255 bytes, the most that a name may have
]
# Not even root may then read a file whose mode forbids it.
PRIVILEGES = "-dac_override,-dac_read_search"
AS_ANYBODY = ["setpriv", f"--bounding-set={PRIVILEGES}", f"--inh-caps={PRIVILEGES}"]

HANDLER = """
import os


def process(item):
    with open(item.path, "rb") as stream:
        content = stream.read(100)
    return [os.fsencode(item.name).hex(), content.hex()]
"""


@pytest.fixture(autouse=True)
def _configured(home) -> None:
    home.configure('handler = "handler:process"\nsettle = 0\nrescan = "1s"\n', handler=HANDLER)


def write(folder: Path, name: bytes, content: bytes) -> None:
    with open(os.fsencode(folder) + b"/" + name, "wb") as out:
        out.write(content)


def names_in(folder: Path) -> set[bytes]:
    return set(os.listdir(os.fsencode(folder)))


def test_twenty_one_hostile_names_are_only_names(home, daemon, ctl, wait_until):
    assert len(HOSTILE) == 21
    running = daemon()

    for number, name in enumerate(HOSTILE):
        write(home.inbox, name, b"content %d" % number)
    wait_until(lambda: len(names_in(home.done)) == 21, what=running.tail)

    assert names_in(home.done) == set(HOSTILE)
    assert not names_in(home.inbox)
    assert not list(home.path.rglob("pwned"))
    results = [each["result"] for each in home.records("done")]
    assert sorted(results) == sorted(
        [name.hex(), (b"content %d" % number).hex()] for number, name in enumerate(HOSTILE)
    )
    assert "STOPPING=1" not in running.told()
    nothing_was_injected(ctl("ls").stdout)
    nothing_was_injected(ctl("status").stdout)
    nothing_was_injected(ctl("history").stdout)
    assert home.journal.read_bytes().isascii()
    assert running.stop() == 0
    nothing_was_injected(running.log.read_text(errors="surrogateescape"))


def test_hostile_names_of_failures_are_only_names(home, daemon, ctl, wait_until):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n',
        handler="def process(item):\n    raise ValueError(item.name)\n",
    )
    running = daemon()

    for name in HOSTILE:
        write(home.inbox, name, b"")
    wait_until(lambda: len(home.records("put_away")) == 21, what=running.tail)

    kept = {name for name in names_in(home.failed) if not name.endswith(b".failure.txt")}
    assert kept == set(HOSTILE)
    assert len(names_in(home.failed)) == 42
    nothing_was_injected(ctl("failures").stdout)
    for sidecar in home.failed.glob("*.failure.txt"):
        nothing_was_injected(sidecar.read_text())
    shown = [json.loads(line) for line in ctl("failures", "--json").stdout.splitlines()]
    assert {os.fsencode(each["name"]) for each in shown} == set(HOSTILE)


def nothing_was_injected(text: str) -> None:
    """A terminal would print this text, and only print it."""
    assert text.isprintable() or all(each.isprintable() or each == "\n" for each in text)
    assert not any("\ud800" <= each <= "\udfff" for each in text)
    assert not any(line.startswith(("STOPPING=1", "READY=1")) for line in text.splitlines())


def drop_strangers(home) -> set[str]:
    """Put one of each kind into the inbox that is not a regular file."""
    secret = home.path / "secret"
    secret.write_text("do not read")
    (home.inbox / "link").symlink_to(secret)
    (home.inbox / "dangling").symlink_to(home.path / "nowhere")
    (home.inbox / "loop").symlink_to("loop")
    (home.inbox / "link-to-folder").symlink_to(home.path)
    (home.inbox / "folder").mkdir()
    (home.inbox / "folder" / "inside").write_text("text")
    os.mkfifo(home.inbox / "fifo")
    listening = socket.socket(socket.AF_UNIX)
    with listening, in_folder(home.inbox):
        listening.bind("socket")
    strangers = {"link", "dangling", "loop", "link-to-folder", "folder", "fifo", "socket"}
    if os.geteuid() == 0:
        os.mknod(home.inbox / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        strangers.add("device")
    return strangers


def test_what_is_no_file_is_left_alone_and_shown(home, daemon, ctl, wait_until):
    strangers = drop_strangers(home)
    running = daemon()

    (home.inbox / "ordinary").write_text("text")
    wait_until(lambda: home.names("done") == ["ordinary"], what=running.tail)

    assert set(home.names("inbox")) == strangers
    assert (home.inbox / "folder" / "inside").read_text() == "text"
    shown = ctl("status").stdout
    assert all(name in shown for name in strangers)
    assert running.stop() == 0
    assert not home.names("failed")


class in_folder:  # noqa: N801 - reads as a statement
    """Work in a folder, so that a long path fits a socket's address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = os.getcwd()
        os.chdir(self.folder)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)


def test_an_empty_file_and_a_huge_sparse_one_are_files(home, daemon, wait_until):
    (home.inbox / "empty").touch()
    with (home.inbox / "sparse").open("wb") as out:
        out.truncate(1 << 40)
    running = daemon()

    wait_until(lambda: home.ended() == 2, what=running.tail)

    assert home.names("done") == ["empty", "sparse"]
    assert (home.done / "sparse").stat().st_size == 1 << 40
    assert (home.done / "sparse").stat().st_blocks == 0


def test_an_unreadable_file_waits_until_it_is_readable(home, daemon, ctl, wait_until):
    (home.inbox / "shut").write_text("text")
    (home.inbox / "shut").chmod(0)
    if os.geteuid() == 0:
        daemon.wrapper = AS_ANYBODY
    running = daemon()
    (home.inbox / "open").write_text("text")
    wait_until(lambda: home.names("done") == ["open"], what=running.tail)
    assert home.names("inbox") == ["shut"]
    assert "shut" in ctl("status").stdout

    (home.inbox / "shut").chmod(0o600)

    wait_until(lambda: home.names("done") == ["open", "shut"], what=running.tail)
    assert not home.names("failed")


def test_a_writer_that_comes_during_the_lease_stops_nobody(home, daemon, wait_until):
    running = daemon()
    names = [f"contested-{number:03}" for number in range(200)]
    over = threading.Event()

    def open_again_and_again() -> None:
        while not over.is_set():
            for name in names:
                try:
                    os.close(os.open(home.inbox / name, os.O_WRONLY | os.O_NONBLOCK))
                except (FileNotFoundError, BlockingIOError):
                    continue

    writers = [threading.Thread(target=open_again_and_again) for _ in range(2)]
    for each in writers:
        each.start()
    for name in names:
        (home.inbox / name).write_text(name)
    wait_until(lambda: home.ended() > 20 or not names_in(home.inbox), 20, what=running.tail)
    over.set()
    for each in writers:
        each.join()

    wait_until(lambda: home.ended() == len(names), what=running.tail)
    assert home.names("done") == names
    assert all((home.done / name).read_text() == name for name in names)
    assert running.stop() == 0
