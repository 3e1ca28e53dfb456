import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resumed import stranger
from resumed.arrival import (
    Foreign,
    Growing,
    Ignored,
    Ready,
    Sidecar,
    Sighting,
    Unreadable,
    Vanished,
)
from resumed.gate import Gate
from resumed.rules import Rules
from resumed.stranger import Folder

HOSTILE_NAMES = [
    b"new\nline",
    b"carriage\rreturn",
    b"\x1b[2Jescape",
    b"\xc2\x9b31mcsi",
    b"invalid-\xff\xfe-utf8",
    "bidi-\u202egpj.exe".encode(),
    "nfc-\u00e9".encode(),
    "nfd-e\u0301".encode(),
    b"-rf",
    b"--help",
    b" leading blank",
    b"trailing blank ",
    b"...",
    b"..two",
    b";touch pwned;",
    b"$(touch pwned)`touch pwned`",
    b"%s%n{id}{path}",
    "line\u2028separator".encode(),
    b"tab\there",
    b"x" * 255,
    b"*?[a]\\'\"",
]


class Clock:
    """Stand still until told otherwise."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def open_gate(inbox, clock):
    """Make gates; close what they have found."""
    folder = Folder(inbox)

    def make(settle=1.0, marker=None, match=("*",), ignore=("!.*",)):
        return Gate(
            folder,
            Rules(match, ignore, marker),
            settle_seconds=settle,
            clock=clock,
            is_sidecar=lambda head: head.startswith(b"resumed: "),
        )

    yield make
    folder.close()


@pytest.fixture
def gate(open_gate):
    return open_gate(settle=0)


def close(verdict):
    assert isinstance(verdict, Ready), verdict
    os.close(verdict.fd)
    return verdict


# by name and kind


def test_there_are_21_hostile_names():
    assert len(set(HOSTILE_NAMES)) == 21


@pytest.mark.parametrize("raw", HOSTILE_NAMES)
def test_a_hostile_name_is_a_name(gate, inbox, raw):
    name = os.fsdecode(raw)
    with open(os.fsencode(inbox) + b"/" + raw, "wb") as file:
        file.write(b"content")

    scanned = [each for chunk in gate.scan(recursive=False) for each, _ in chunk]

    assert scanned == [name]
    assert close(gate.examine(name, None)).name == name


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "", "a//b"])
def test_a_name_never_leads_out_of_the_inbox(gate, tmp_path, name):
    (tmp_path / "secret").write_text("secret")

    assert not isinstance(gate.examine(name, None), Ready)


def make_foreign(path, kind):
    match kind:
        case "folder":
            path.mkdir()
        case "symlink":
            path.symlink_to("/etc/hostname")
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path.name)
        case "folder link":
            path.symlink_to("/etc")
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                here = os.open(path.parent, os.O_RDONLY)
                os.fchdir(here)
                os.close(here)
                listener.bind(path.name)
        case "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


FOREIGN = {
    "folder": "folder",
    "symlink": "symlink",
    "dangling": "symlink",
    "loop": "symlink",
    "folder link": "symlink",
    "fifo": "fifo",
    "socket": "socket",
    "device": "device",
}


@pytest.fixture
def made(inbox, monkeypatch, request):
    monkeypatch.chdir(inbox)
    if request.param == "device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    make_foreign(inbox / "thing", request.param)
    return FOREIGN[request.param]


@pytest.mark.parametrize("made", FOREIGN, indirect=True)
def test_what_is_no_regular_file_is_named_and_left_alone(gate, made):
    assert gate.examine("thing", None) == Foreign("thing", made)


@pytest.mark.parametrize("made", FOREIGN, indirect=True)
def test_what_took_the_place_of_a_file_is_noticed_without_being_followed(gate, inbox, made):
    (inbox / "file").touch()
    sighting = gate.sight("file")

    assert gate.examine("thing", sighting) == Foreign("thing", made)


def test_a_symlink_that_comes_and_goes_is_never_followed(gate, inbox, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (inbox / "real").write_text("x")
    (inbox / "link").symlink_to(secret)
    swapper = (
        "import os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "while True:\n"
        "  os.link('real', 'a'); os.rename('a', 'item')\n"
        "  os.symlink(sys.argv[2], 'b'); os.rename('b', 'item')\n"
    )
    kinds = set()
    with subprocess.Popen([sys.executable, "-c", swapper, inbox, secret]) as process:
        until = time.monotonic() + 20
        while not {Ready, Foreign} <= kinds and time.monotonic() < until:
            for _ in range(500):
                verdict = gate.examine("item", None)
                kinds.add(type(verdict))
                if isinstance(verdict, Ready):
                    assert os.read(verdict.fd, 10) == b"x"
                    os.close(verdict.fd)
        process.kill()

    assert {Ready, Foreign} <= kinds <= {Ready, Foreign, Vanished, Growing}


def test_what_becomes_a_file_while_we_look_is_looked_at_again(gate, inbox, clock, monkeypatch):
    (inbox / "a").write_text("x")

    def refuse(*_):
        raise OSError(40, "Too many levels of symbolic links")

    monkeypatch.setattr(stranger, "open_file", refuse)

    assert gate.examine("a", None) == Growing(
        "a", clock.now + 1, "changing", Sighting((), clock.now)
    )


def test_a_name_that_the_rules_leave_out_is_ignored_with_the_rule(open_gate, inbox):
    gate = open_gate(match=["*.pdf"], ignore=())
    for name in ("a.tmp", "a.txt", ".hidden"):
        (inbox / name).touch()

    rules = [gate.examine(name, None).rule for name in ("a.tmp", "a.txt", ".hidden")]

    assert rules == ['ignore "*.tmp"', 'match = ["*.pdf"]', 'ignore ".*"']


def test_a_name_without_a_file_has_vanished(gate, inbox):
    (inbox / "a").touch()
    sighting = gate.sight("a")
    (inbox / "a").unlink()

    assert gate.examine("a", sighting) == Vanished("a")
    assert gate.examine("b", None) == Vanished("b")
    assert gate.examine("no/such", sighting) == Vanished("no/such")


def test_an_empty_file_and_a_sparse_one_of_a_tebibyte_are_files(gate, inbox):
    (inbox / "empty").touch()
    with (inbox / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    assert close(gate.examine("empty", None)).identity.size == 0
    assert close(gate.examine("sparse", None)).identity.size == 1 << 40


# by the lease


def test_a_file_that_is_open_for_writing_is_not_ready(gate, inbox, clock):
    with (inbox / "a").open("wb"):
        verdict = gate.examine("a", None)

        assert isinstance(verdict, Growing)
        assert verdict.why == "open for writing"
        assert verdict.due_at == clock.now + 1
    close(gate.examine("a", verdict.sighting))


def test_a_writer_through_another_link_counts(gate, inbox, tmp_path):
    with (tmp_path / "outside").open("wb"):
        os.link(tmp_path / "outside", inbox / "a")

        assert gate.examine("a", None).why == "open for writing"


def test_a_file_that_is_only_read_elsewhere_is_ready(gate, inbox):
    (inbox / "a").write_text("x")
    with (inbox / "a").open("rb"):
        close(gate.examine("a", None))


def test_settling_begins_when_the_writer_is_gone(open_gate, inbox, clock):
    gate = open_gate(settle=1.0)
    with (inbox / "a").open("wb") as file:
        file.write(b"x")
        file.flush()
        sighting = gate.sight("a")
        clock.now += 60
        busy = gate.examine("a", sighting)
    assert busy.why == "open for writing"
    clock.now += 60

    settling = gate.examine("a", busy.sighting)

    assert (settling.why, settling.due_at) == ("changing", clock.now + 1)
    clock.now += 1
    close(gate.examine("a", settling.sighting))


def test_a_file_that_somebody_holds_a_write_lease_on_is_busy(gate, inbox, clock):
    """Samba does: an open would break the lease, or wait for it."""
    (inbox / "a").write_text("x")
    script = (
        "import fcntl, os, signal, sys, time\n"
        "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, inbox / "a"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"

        verdict = gate.examine("a", None)

        holder.stdin.close()
    assert verdict == Growing("a", clock.now + 1, "open for writing", Sighting((), clock.now))


def test_a_writer_that_opens_the_file_during_a_lease_kills_nobody(gate, inbox):
    (inbox / "a").write_text("x")
    verdict = gate.examine("a", None)
    fcntl.fcntl(verdict.fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(inbox / 'a')!r}, 'ab')"])
    try:
        # The kernel says that the lease is being broken: it has sent the signal by then.
        until = time.monotonic() + 20
        while fcntl.fcntl(verdict.fd, fcntl.F_GETLEASE) != fcntl.F_UNLCK:
            assert time.monotonic() < until
        fcntl.fcntl(verdict.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        assert writer.wait(20) == 0
    finally:
        writer.kill()
        writer.wait()

    assert signal.getsignal(signal.SIGIO) is signal.SIG_IGN
    close(verdict)


def test_many_writers_come_and_go_while_leases_are_taken(gate, inbox):
    path = inbox / "a"
    path.write_text("x")
    script = f"for _ in range(20000): open({str(path)!r}, 'ab').close()"
    verdicts = set()
    with subprocess.Popen([sys.executable, "-c", script]) as writer:
        while writer.poll() is None:
            verdict = gate.examine("a", None)
            verdicts.add(type(verdict))
            if isinstance(verdict, Ready):
                os.close(verdict.fd)

    assert writer.returncode == 0
    assert verdicts <= {Ready, Growing}


# by the clock


def test_a_new_file_settles_without_being_opened(open_gate, inbox, clock):
    gate = open_gate(settle=2.5)
    (inbox / "a").write_text("x")
    os.utime(inbox / "a", (0, 0))

    verdict = gate.examine("a", None)

    assert (verdict.why, verdict.due_at) == ("changing", clock.now + 2.5)
    clock.now += 2.4
    assert isinstance(gate.examine("a", verdict.sighting), Growing)
    clock.now += 0.1
    close(gate.examine("a", verdict.sighting))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("other"),
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.chmod(0o600),
        lambda path: (path.rename(path.parent / "old"), path.write_text("x")),
    ],
    ids=["bytes", "mtime", "mode", "another file"],
)
def test_any_change_starts_the_clock_anew(open_gate, inbox, clock, change):
    gate = open_gate(settle=1.0)
    (inbox / "a").write_text("x")
    sighting = gate.sight("a")
    clock.now += 10
    change(inbox / "a")

    verdict = gate.examine("a", sighting)

    assert verdict.due_at == clock.now + 1
    assert verdict.sighting != sighting


def test_where_the_lease_says_nothing_even_settle_0_waits_a_second(
    open_gate, inbox, clock, monkeypatch
):
    monkeypatch.setattr(stranger, "has_writer", lambda _: None)
    gate = open_gate(settle=0)
    (inbox / "a").write_text("x")

    verdict = gate.examine("a", None)

    assert verdict.due_at == clock.now + 1
    clock.now += 1
    close(gate.examine("a", verdict.sighting))


def test_candidates_are_ordered_by_ctime_not_by_mtime(gate, inbox):
    (inbox / "first").write_text("x")
    until = time.monotonic() + 20
    while gate.sight("first").arrived_ns >= time.time_ns() - 20_000_000:
        assert time.monotonic() < until
    (inbox / "second").write_text("x")
    os.utime(inbox / "second", (0, 0))

    assert gate.sight("first").arrived_ns < gate.sight("second").arrived_ns
    assert Sighting((), 0.0).arrived_ns == 0


def test_a_file_seen_under_a_temporary_name_needs_no_settling(open_gate, inbox):
    gate = open_gate(settle=60)
    (inbox / "a.part").write_text("x")
    assert isinstance(gate.examine("a.part", None), Ignored)
    (inbox / "a.part").rename(inbox / "a")

    close(gate.examine("a", None))


def test_a_birth_that_the_watch_saw_counts_as_well(open_gate, inbox):
    gate = open_gate(settle=60)
    (inbox / "a").write_text("x")
    root = os.open(inbox, os.O_RDONLY)
    gate.remember([stranger.birth_of(root, "a")])
    os.close(root)

    close(gate.examine("a", None))


def test_the_inode_of_a_deleted_temporary_file_means_nothing(open_gate, inbox):
    gate = open_gate(settle=60)
    (inbox / "a").write_text("x")
    inode = (inbox / "a").stat().st_ino
    gate.remember([(inode, 12345)])

    assert isinstance(gate.examine("a", None), Growing)


def test_a_temporary_file_that_is_gone_again_is_ignored_all_the_same(gate):
    assert gate.examine("gone.tmp", None) == Ignored("gone.tmp", 'ignore "*.tmp"')
    assert isinstance(gate.examine("no/gone.tmp", None), Ignored)


def test_only_so_many_births_are_remembered(open_gate, inbox):
    gate = open_gate(settle=60)
    (inbox / "a.part").write_text("x")
    gate.sight("a.part")
    (inbox / "a.part").rename(inbox / "a")
    gate.remember((inode, 0) for inode in range(10**9, 10**9 + 10_000))

    assert isinstance(gate.examine("a", None), Growing)


def test_a_temporary_file_that_is_renamed_while_open_is_still_busy(open_gate, inbox):
    gate = open_gate(settle=60)
    with (inbox / "a.part").open("wb"):
        gate.sight("a.part")
        (inbox / "a.part").rename(inbox / "a")

        assert gate.examine("a", None).why == "open for writing"


# markers


def test_a_file_waits_for_its_marker_and_settles_meanwhile(open_gate, inbox, clock):
    gate = open_gate(settle=1.0, marker="{name}.ok")
    (inbox / "a").write_text("x")
    verdict = gate.examine("a", gate.examine("a", None).sighting)
    assert (verdict.why, verdict.due_at) == ("no marker", clock.now + 1)
    clock.now += 5
    verdict = gate.examine("a", verdict.sighting)
    assert verdict.why == "no marker"
    (inbox / "a.ok").touch()

    assert close(gate.examine("a", verdict.sighting)).marker == "a.ok"
    assert gate.examine("a.ok", None) == Ignored("a.ok", 'marker = "{name}.ok"')


def test_a_marker_that_is_no_file_is_none(open_gate, inbox):
    gate = open_gate(settle=0, marker="{name}.ok")
    (inbox / "a").write_text("x")
    (inbox / "a.ok").symlink_to("a")

    assert gate.examine("a", None).why == "no marker"


def test_a_file_that_vanishes_while_it_waits_for_its_marker(open_gate, inbox):
    gate = open_gate(settle=0, marker="{name}.ok")
    (inbox / "a").write_text("x")
    sighting = gate.sight("a")
    (inbox / "a").unlink()

    assert gate.examine("a", sighting) == Vanished("a")


def test_a_marker_in_a_subfolder_is_named_by_its_last_component(open_gate, inbox):
    gate = open_gate(settle=0, marker="{name}.ok")
    (inbox / "sub").mkdir()
    (inbox / "sub" / "a").write_text("x")
    (inbox / "sub" / "a.ok").touch()

    assert close(gate.examine("sub/a", None)).marker == "a.ok"


# sidecars


def test_a_sidecar_of_ours_is_told_and_discarded_whatever_the_rules_say(open_gate, inbox):
    gate = open_gate(settle=0, match=["*.pdf"])
    (inbox / "a.pdf.failure.txt").write_text("resumed: it failed")

    assert gate.examine("a.pdf.failure.txt", None) == Sidecar("a.pdf.failure.txt")
    gate.discard("a.pdf.failure.txt")

    assert os.listdir(inbox) == []


def test_a_file_that_is_only_named_like_a_sidecar_follows_the_rules(open_gate, inbox):
    (inbox / "a.failure.txt").write_text("mine")

    assert isinstance(open_gate(settle=0, match=["*.pdf"]).examine("a.failure.txt", None), Ignored)
    close(open_gate(settle=0).examine("a.failure.txt", None))


def test_nothing_but_a_sidecar_is_discarded(gate, inbox):
    (inbox / "a.failure.txt").write_text("mine")
    (inbox / "b.failure.txt").mkdir()
    (inbox / "c").write_text("resumed: not named like one")

    for name in ("a.failure.txt", "b.failure.txt", "c", "missing.failure.txt"):
        gate.discard(name)

    assert sorted(os.listdir(inbox)) == ["a.failure.txt", "b.failure.txt", "c"]


# unreadable


UNPRIVILEGED = """
import os, sys, time
sys.path.insert(0, {package!r})
from pathlib import Path
from resumed.gate import Gate
from resumed.rules import Rules
from resumed.stranger import Folder
os.setgroups([]); os.setgid(65534); os.setuid(65534)
now = [0.0]
gate = Gate(Folder(Path(sys.argv[1])), Rules(["*"]), settle_seconds=0,
            clock=lambda: now[0], is_sidecar=lambda _: False)
first = gate.examine("closed", None)
now[0] = 61.0
again = gate.examine("closed", first.sighting)
print(first.fault, first.sighting.since, again.sighting.since, again.identity.size)
theirs = gate.examine("theirs", None)
print(theirs.why, theirs.due_at - now[0])
now[0] += 1
print(type(gate.examine("theirs", theirs.sighting)).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_somebody_elses_file_may_be_unreadable_or_refuse_the_lease(public_path):
    inbox = public_path / "inbox"
    inbox.mkdir()
    (inbox / "closed").write_text("secret")
    (inbox / "closed").chmod(0)
    (inbox / "theirs").write_text("x")
    script = UNPRIVILEGED.format(package=str(Path(__file__).parent.parent))

    ended = subprocess.run(
        [sys.executable, "-c", script, inbox], capture_output=True, text=True, check=False
    )

    assert ended.stdout.splitlines() == [
        "Permission denied 0.0 0.0 6",
        "changing 1.0",
        "Ready",
    ], ended.stderr


def test_a_shortage_of_ours_is_not_the_files_fault(gate, inbox, clock):
    import resource

    (inbox / "a").write_text("x")
    sighting = gate.sight("a")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        verdict = gate.examine("a", sighting)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert verdict == Growing("a", clock.now + 1, "out of file descriptors", sighting)


def test_an_error_of_the_disk_on_one_file_makes_only_that_one_unreadable(gate, inbox, monkeypatch):
    (inbox / "a").write_text("x")

    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(stranger, "open_file", refuse)

    verdict = gate.examine("a", None)

    assert isinstance(verdict, Unreadable)
    assert verdict.fault == "Input/output error"


# scanning


def names(chunks):
    return sorted(name for chunk in chunks for name, _ in chunk)


def test_a_scan_names_everything_with_its_inode_in_chunks(gate, inbox):
    for number in range(2500):
        (inbox / f"{number:04}").touch()

    chunks = list(gate.scan(recursive=False))

    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]
    assert names(chunks) == [f"{number:04}" for number in range(2500)]
    assert all((inbox / name).stat().st_ino == inode for name, inode in chunks[0][:10])


def test_two_scans_do_not_share_a_position(gate, inbox):
    for number in range(2500):
        (inbox / f"{number:04}").touch()

    first, second = gate.scan(recursive=False), gate.scan(recursive=False)
    both = [next(first), next(second), *first, *second]

    assert sum(map(len, both)) == 5000


def test_an_empty_inbox_has_no_chunks(gate):
    assert list(gate.scan(recursive=False)) == []


def test_a_flat_scan_lists_a_folder_and_does_not_enter_it(gate, inbox):
    (inbox / "sub").mkdir()
    (inbox / "sub" / "a").touch()

    assert names(gate.scan(recursive=False)) == ["sub"]


def test_a_recursive_scan_enters_folders_but_no_symlinks_and_no_ignored_ones(gate, inbox, tmp_path):
    for folder in ("sub/deep", "@eaDir", "empty"):
        (inbox / folder).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    (inbox / "link").symlink_to(tmp_path / "outside")
    for name in ("a", "sub/b", "sub/deep/c", "@eaDir/d"):
        (inbox / name).touch()

    assert names(gate.scan(recursive=True)) == ["a", "link", "sub/b", "sub/deep/c"]
    assert isinstance(gate.examine("@eaDir/d", None), Ignored)
    assert gate.examine("link/secret", None) == Vanished("link/secret")
    close(gate.examine("sub/deep/c", None))


def test_a_folder_that_is_removed_during_the_scan_is_skipped(gate, inbox):
    for number in range(1000):
        (inbox / f"{number:04}").touch()
    (inbox / "sub").mkdir()
    (inbox / "sub" / "a").touch()
    scan = gate.scan(recursive=True)
    next(scan)
    (inbox / "sub" / "a").unlink()
    (inbox / "sub").rmdir()

    assert list(scan) == []


def test_an_inbox_that_cannot_be_read_is_a_storage_error(open_gate, monkeypatch):
    from resumed.errors import StorageError

    def refuse(*_):
        raise OSError(5, "Input/output error")

    gate = open_gate()
    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(StorageError, match="inbox: Input/output error"):
        list(gate.scan(recursive=False))


# the folder itself


def test_an_inbox_knows_when_its_path_means_another_folder(inbox):
    folder = Folder(inbox)
    assert folder.renew() == "same"

    inbox.rename(inbox.parent / "away")
    assert folder.renew() == "missing"
    inbox.symlink_to("away")
    assert folder.renew() == "refused"
    inbox.unlink()
    inbox.mkdir()
    (inbox / "new").touch()
    assert folder.renew() == "replaced"
    assert stranger.names_in(folder.fd) == ["new"]
    assert folder.renew() == "same"

    folder.close()


def test_a_birth_is_not_known_of_what_is_not_there(tmp_path):
    root = os.open(tmp_path, os.O_RDONLY)

    assert stranger.birth_of(root, "nothing") is None

    os.close(root)


def test_a_file_system_without_births_knows_none():
    root = os.open("/proc", os.O_RDONLY)

    assert stranger.birth_of(root, "version") is None

    os.close(root)


def test_what_takes_no_lease_says_nothing_about_writers():
    read_end, write_end = os.pipe()

    assert stranger.has_writer(read_end) is None

    os.close(read_end)
    os.close(write_end)
