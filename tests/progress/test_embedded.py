"""Break the files of embedded jobs, and the processes that write them."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from resumed import durable
from resumed.errors import JournalCorruptError, JournalVersionError, StorageError
from resumed.model import Fault
from resumed.progress.embedded import EmbeddedProgress
from resumed.progress.errors import JobDoesNotExist, PartLeased
from resumed.progress.parts import Parts
from resumed.progress.states import AlreadyDone, Ended, LastPart, StillOpen


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "jobs"


@pytest.fixture
def keeper(folder):
    progress = EmbeddedProgress(folder)
    yield progress
    progress.close()


def create(progress, job_id, total, **keywords):
    with Parts({"n": n} for n in range(total)) as parts:
        return progress.create(job_id, parts, **keywords)


def records(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_jobs_journal_is_json_lines_that_a_person_can_read(keeper, folder):
    create(keeper, "job", 2, metadata={"a": 1})
    keeper.fail(keeper.begin("job", "1"), Fault("builtins.OSError", "no"))
    keeper.complete("job", "0", "r")

    kinds = [record["kind"] for record in records(folder / "job.jsonl")]

    assert kinds == ["opened", "parts", "started", "waiting", "done"]
    assert records(folder / "job.jsonl")[1]["payloads"] == [{"n": 0}, {"n": 1}]


def test_a_group_is_synced_once_and_stays_locked_until_then(keeper, folder, monkeypatch):
    create(keeper, "job", 100)
    keeper.complete("job", "99")
    synced, sync = [], durable.sync
    monkeypatch.setattr(durable, "sync", lambda fd: (synced.append(fd), sync(fd)))

    with keeper.group():
        with keeper.group():
            answers = {type(keeper.complete("job", str(n))) for n in range(98)}
        assert synced == []
        lock = os.open(folder / "job.jsonl", os.O_RDONLY)
        with pytest.raises(Exception, match="another instance"):
            durable.lock(lock)
        os.close(lock)

    assert answers == {StillOpen}
    assert len(synced) == 1
    assert keeper.job("job").done == 99


def test_a_group_may_ask_about_more_jobs_than_are_kept_open(keeper, folder):
    names = [f"job-{number:02}" for number in range(40)]
    for name in names:
        create(keeper, name, 2)

    with keeper.group():
        for name in names:
            keeper.complete(name, "0", "r")

    assert [job.done for job in EmbeddedProgress(folder).jobs()] == [1] * 40


def test_what_a_group_was_answered_is_known_to_it_before_it_ends(keeper, folder):
    create(keeper, "job", 3)
    large = "x" * 200_000

    with keeper.group():
        assert keeper.complete("job", "1", "small") == StillOpen()
        assert list(keeper.results("job")) == [("1", "small")]
        assert keeper.complete("job", "0", large) == StillOpen()
        assert keeper.part("job", "0").state.result == large
        assert keeper.complete("job", "1") == AlreadyDone()
        assert isinstance(keeper.complete("job", "2", large), LastPart)

    again = [("0", large), ("1", "small"), ("2", large)]
    assert list(keeper.results("job")) == list(EmbeddedProgress(folder).results("job")) == again


def test_a_refusal_inside_a_group_keeps_what_was_answered_before(keeper, folder):
    create(keeper, "job", 2)
    keeper.begin("job", "1")

    def ask():
        with keeper.group():
            keeper.complete("job", "0")
            keeper.begin("job", "1")

    with pytest.raises(PartLeased):
        ask()

    assert keeper.job("job").done == 1
    assert EmbeddedProgress(folder).job("job").done == 1


def test_a_torn_end_is_kept_aside_and_cut_by_the_next_record(keeper, folder):
    create(keeper, "job", 3)
    keeper.complete("job", "0")
    path = folder / "job.jsonl"
    whole = path.read_bytes()
    for torn in (b"{", b'{"n":4,"s":3,"g":"', b"\x00" * 100):
        path.write_bytes(whole + torn)

        for progress in (keeper, EmbeddedProgress(folder)):
            assert progress.job("job").done == 1
            assert path.read_bytes() == whole + torn
        assert keeper.complete("job", "1") == StillOpen()
        assert isinstance(EmbeddedProgress(folder).complete("job", "2"), LastPart)

        assert path.read_bytes().startswith(whole)
        assert len(list(folder.glob("job.tail-*"))) > 0
        path.write_bytes(whole)


def test_a_crash_at_any_byte_loses_only_what_nobody_was_told(keeper, folder):
    create(keeper, "job", 2)
    path = folder / "job.jsonl"
    before = path.read_bytes()
    keeper.complete("job", "0", "zero")
    keeper.close()
    whole = path.read_bytes()

    for cut in range(len(before), len(whole)):
        path.write_bytes(whole[:cut])
        progress = EmbeddedProgress(folder)

        assert progress.job("job").done == 0
        assert progress.complete("job", "0", "again") == StillOpen()
        assert list(progress.results("job")) == [("0", "again")]
        progress.close()


def test_damage_before_the_end_is_refused_and_changes_nothing(keeper, folder):
    create(keeper, "job", 2)
    keeper.complete("job", "0")
    keeper.complete("job", "1")
    keeper.close()
    path = folder / "job.jsonl"
    whole = path.read_bytes()
    last_group = whole.index(b'{"n":4')

    for at in range(0, last_group, 7):
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        path.write_bytes(damaged)
        with pytest.raises((JournalCorruptError, JournalVersionError)):
            EmbeddedProgress(folder).complete("job", "1")
        assert path.read_bytes() == damaged


def test_a_record_of_a_newer_program_is_refused(keeper, folder):
    from resumed import journal
    from resumed.model import Fact

    create(keeper, "job", 1)
    path = folder / "job.jsonl"
    last = records(path)[-1]
    path.write_bytes(path.read_bytes() + journal.seal(3, 2, last["g"], Fact("reborn", 0.0, {})))

    with pytest.raises(JournalVersionError, match="reborn"):
        EmbeddedProgress(folder).job("job")


def test_parts_that_are_missing_are_noticed(keeper, folder):
    create(keeper, "job", 200)
    path = folder / "job.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))

    with pytest.raises(JournalCorruptError):
        EmbeddedProgress(folder).job("job")


def test_what_the_disk_refused_is_not_believed(keeper, folder, monkeypatch):
    create(keeper, "job", 2)
    sync = durable.sync

    def refuse(_fd):
        raise StorageError("job.jsonl", OSError(5, "Input/output error"))

    monkeypatch.setattr(durable, "sync", refuse)
    with pytest.raises(StorageError):
        keeper.complete("job", "0")
    monkeypatch.setattr(durable, "sync", sync)

    # What did reach the file is read back: part of the answer may be there, all of it is sound.
    assert keeper.complete("job", "0") in (StillOpen(), AlreadyDone())
    assert EmbeddedProgress(folder).job("job") == keeper.job("job")


def test_a_file_that_is_replaced_or_deleted_is_noticed(keeper, folder):
    create(keeper, "job", 1)
    other = EmbeddedProgress(folder)
    assert other.job("job").total == 1

    keeper.delete("job")
    with pytest.raises(JobDoesNotExist):
        other.complete("job", "0")
    create(keeper, "job", 2)

    assert other.job("job").total == 2
    other.close()


def test_more_jobs_than_files_may_be_open(keeper):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(40):
        create(keeper, f"job-{number:02}", 2)
        keeper.complete(f"job-{number:02}", "0")

    assert all(isinstance(keeper.complete(f"job-{n:02}", "1"), LastPart) for n in range(40))
    assert len(os.listdir("/proc/self/fd")) - before < 40


def test_a_fork_shares_nothing_with_its_parent(keeper, folder):
    create(keeper, "job", 40)
    keeper.complete("job", "0")

    child = os.fork()
    if not child:
        for number in range(1, 20):
            keeper.complete("job", str(number))
        os._exit(0)
    for number in range(20, 40):
        keeper.complete("job", str(number))
    assert os.waitpid(child, 0)[1] == 0

    assert keeper.job("job").done == 40
    assert EmbeddedProgress(folder).job("job").done == 40


def test_a_creation_that_dies_leaves_no_job(keeper, folder, monkeypatch):
    monkeypatch.setattr(durable, "move", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(OSError, match="full"):
        create(keeper, "job", 1)

    assert keeper.jobs() == []
    assert list(folder.iterdir()) == []


WORK = """
import os, signal, sys
from resumed import durable
from resumed.jobs import Part
from resumed.progress.embedded import EmbeddedProgress

moment, place = 0, int(sys.argv[2])

def soon(call):
    def run(*arguments):
        global moment
        moment += 1
        if moment == place:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*arguments)
        moment += 1
        if moment == place:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return run

durable.write_all, durable.sync = soon(durable.write_all), soon(durable.sync)

def on_reduce(message, topic, subject=None):
    with open(sys.argv[3], "a") as sent:
        sent.write(message["key"] + "\\n")

progress = EmbeddedProgress(sys.argv[1])
for part in progress.pending("job"):
    with Part("job", part.id, progress, on_reduce=on_reduce, seconds=1000):
        pass
if reduce := progress.claim_reduce("job"):
    on_reduce({"key": reduce.key}, None)
    progress.confirm_reduce(reduce)
"""


@pytest.mark.parametrize("place", range(1, 64, 3))
def test_a_kill_at_any_write_or_sync_leads_to_one_recorded_reduce(tmp_path, place):
    folder, sent = tmp_path / "jobs", tmp_path / "sent"
    progress = EmbeddedProgress(folder)
    create(progress, "job", 5)

    command = [sys.executable, "-c", WORK, str(folder), str(place), str(sent)]
    killed = subprocess.run(command, check=False).returncode == -signal.SIGKILL
    first = sent.read_text().splitlines() if sent.exists() else []
    later = EmbeddedProgress(folder, clock=lambda: 4e9)  # when all leases have run out
    for part in later.pending("job"):
        later.begin("job", part.id)
        answer = later.complete("job", part.id)
    if not isinstance(later.job("job").state, Ended):
        reduce = later.claim_reduce("job") if "answer" not in locals() else answer.reduce
        first.append(reduce.key)
        assert later.confirm_reduce(reduce)

    kinds = [record["kind"] for record in records(folder / "job.jsonl")]
    assert kinds.count("reduce_done") == 1
    assert kinds.count("done") == 5
    assert set(first) == {later.job("job").key}
    assert len(first) in ((1, 2) if killed else (1,))
    later.close()
    progress.close()
    shutil.rmtree(folder)
