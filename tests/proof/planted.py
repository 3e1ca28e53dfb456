"""Break the package on purpose, by a switch that exists in the tests alone.

Each function changes the package in the process that calls it: a forked child of the harness.
A sweep that finds none of them would prove nothing.
"""

import dataclasses
import os
from contextlib import suppress


def ack_before_sync():
    """Tell everybody first, sync then."""
    from resumed.recorder import Recorder

    def commit(self):
        if not self._urgent:
            self._journal.write()
            return False
        self._journal.write()
        actions, self._waiting = self._waiting, []
        for action in actions:
            action()
        self._journal.sync()
        self._urgent = False
        return True

    Recorder.commit = commit


def no_sync():
    """Never sync a file."""
    from resumed import durable

    durable.sync = lambda _fd: None


def retry_sync():
    """Sync again when a sync failed, and believe the answer."""
    from resumed import durable

    real = durable.sync

    def sync(fd):
        for _ in range(3):
            with suppress(Exception):
                return real(fd)
        return None

    durable.sync = sync


def no_sync_of_rewritten_journal():
    """Rename a rewritten journal that may not be on the disk."""
    from resumed import durable

    def write_whole(folder_fd, name, content, mode=0o640):
        fd = durable.open_file(folder_fd, name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        durable.write_all(fd, content)
        os.close(fd)

    durable.write_whole = write_whole


def no_folder_sync():
    """Never sync a folder."""
    from resumed import durable

    durable.sync_folder = lambda _fd: None


def no_sync_of_batches():
    """Never sync the file system, which is how several files are synced at once."""
    from resumed import durable

    durable.sync_filesystem = lambda _fd: None


def no_folder_sync_after_rewriting():
    """Go on before the new journal's name is durable.

    At a start this is harmless: before anybody is told anything, `Resumption` syncs the whole file
    system. It bites where a daemon at work rewrites, and then syncs records of the new file only.
    """
    from resumed import durable

    real, sync = durable.supersede, durable.sync_folder

    def supersede(*arguments):
        durable.sync_folder = lambda _fd: None
        real(*arguments)
        durable.sync_folder = sync

    durable.supersede = supersede


def no_sync_of_done():
    """Record that a file was put away before its folder knows."""
    from resumed.spool import Spool

    real = Spool.put_away

    def put_away(self, batch):
        from resumed import durable

        sync, sync_all = durable.sync_folder, durable.sync_filesystem
        durable.sync_folder = durable.sync_filesystem = lambda _fd: None
        try:
            return real(self, batch)
        finally:
            durable.sync_folder, durable.sync_filesystem = sync, sync_all

    Spool.put_away = put_away


def rewrite_in_place():
    """Rewrite the journal over itself."""
    from resumed import compaction, durable

    def supersede(folder_fd, fresh, name, _previous):
        fd = durable.open_file(folder_fd, fresh, os.O_RDONLY)
        content = os.read(fd, 1 << 24)
        os.close(fd)
        os.unlink(fresh, dir_fd=folder_fd)
        fd = durable.open_file(folder_fd, name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        durable.write_all(fd, content)
        durable.sync(fd)
        os.close(fd)
        durable.sync_folder(folder_fd)

    compaction.durable.supersede = supersede


def unlink_before_rename():
    """Make room for the new journal first."""
    from resumed import durable

    real = durable.supersede

    def supersede(folder_fd, fresh, name, previous):
        with suppress(FileNotFoundError):
            os.unlink(previous, dir_fd=folder_fd)
        os.rename(name, previous, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.rename(fresh, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        durable.sync_folder(folder_fd)

    durable.supersede = supersede
    del real


def stale_temporary_blocks():
    """Insist on a new temporary file, whatever a crash has left."""
    from resumed import durable

    def write_whole(folder_fd, name, content, mode=0o640):
        fd = durable.open_file(folder_fd, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        durable.write_all(fd, content)
        durable.sync(fd)
        os.close(fd)

    durable.write_whole = write_whole


def move_before_record():
    """Put files away before their outcome is recorded."""
    from resumed.runner import Runner
    from resumed.spool import PutAway

    real = Runner.apply

    def apply(self, fact):
        if fact.kind in ("done", "failed"):
            entry = self._recorder.ledger.items[fact.particulars["id"]]
            self._spool.put_away([PutAway(entry.id, entry.name, fact.kind)])
        real(self, fact)

    Runner.apply = apply


def append_after_torn():
    """Go on behind a torn end instead of cutting it.

    A start that finds one rewrites the journal at once, which hides this: unless there is no
    space for that, as here.
    """
    from resumed.journal import Journal
    from resumed.recorder import Recorder

    Recorder._room_for = lambda *_: False

    real = Journal.__init__

    def init(self, path, reading):
        length = path.stat().st_size
        real(self, path, dataclasses.replace(reading, torn=None, length_bytes=length))

    Journal.__init__ = init


def forget_all_on_torn():
    """Take a torn end for an empty journal."""
    from resumed import compaction
    from resumed.ledger import Ledger

    real = compaction.replay

    def replay(path):
        ledger, reading = real(path)
        return (Ledger() if reading.torn else ledger), reading

    compaction.replay = replay


def newline_is_commit():
    """Refuse a bad line that ends as lines do, although nobody was told of it."""
    from resumed import journal
    from resumed.errors import JournalCorruptError

    real = journal._torn_end

    def torn_end(path, file, sound):
        torn = real(path, file, sound)
        if torn:
            file.seek(torn.offset_bytes)
            if file.readline().endswith(b"\n"):
                raise JournalCorruptError(path, torn.line, "a whole line is bad")
        return torn

    journal._torn_end = torn_end


def short_write_ignored():
    """Write once, and take the rest for granted."""
    from resumed import durable

    durable.write_all = lambda fd, content: os.write(fd, content) and None


def step_told_before_sync():
    """Let a handler go on before its step is durable."""
    from resumed.runner import Runner

    real = Runner._step_taken

    def step_taken(self, report):
        if report.id not in self._recorder.ledger.items:  # a part's
            real(self, report)
            return
        self._recorder.record("stepped", id=report.id, step=report.step, result=report.result)
        self._workers.acknowledge(report.worker, report.id, report.step)

    Runner._step_taken = step_taken


def steps_lost_in_rewriting():
    """Leave the steps out when the journal is rewritten, and compare carelessly."""
    from resumed import ledger

    real = ledger.retell
    ledger.retell = lambda entry: (fact for fact in real(entry) if fact.kind != "stepped")
    ledger.Ledger.__eq__ = lambda _self, _other: True


def claim_unsynced():
    """Begin before the claimed files are durable where they are."""
    from resumed.spool import Spool

    Spool._sync_claims = lambda *_, **__: None


def request_gone_before_answer():
    """Remove a request before what it asks for is recorded."""
    from resumed import request

    real = request.read

    def read(folder_fd, name):
        wish = real(folder_fd, name)
        request.discard(folder_fd, name)
        return wish

    request.read = read


def damage_called_torn():
    """Cut any damage away, however long it was on the disk."""
    from resumed import journal
    from resumed.errors import JournalCorruptError

    real = journal._torn_end

    def torn_end(path, file, sound):
        try:
            return real(path, file, sound)
        except JournalCorruptError:
            if not sound.last:
                raise
            size = os.fstat(file.fileno()).st_size
            return journal.Torn(sound.length_bytes, size - sound.length_bytes, sound.last + 1)

    journal._torn_end = torn_end


def moves_replace():
    """Move like `mv` does, over whatever is there."""
    from resumed import durable

    def move(source_fd, source, target_fd, target):
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    durable.move = move


def forgotten_when_done():
    """Forget an item at its outcome instead of when its file is put away."""
    from resumed.ledger import Ledger

    done, put_away = Ledger._done, Ledger._put_away

    def forget(self, record):
        done(self, record)
        del self.items[record["id"]]

    def ignore(self, record):
        if record["id"] in self.items:
            put_away(self, record)

    Ledger._done, Ledger._put_away = forget, ignore


def output_folder_unsynced():
    """Tell a handler that its output is there before ``out/`` knows."""
    from resumed.output import Outputs

    real = Outputs.publish

    def publish(self, names):
        from resumed import durable

        sync = durable.sync_folder
        durable.sync_folder = lambda _fd: None
        try:
            real(self, names)
        finally:
            durable.sync_folder = sync

    Outputs.publish = publish


def output_forgotten():
    """Publish again without taking back what a crash left of the time before."""
    from resumed.output import Outputs

    def forget(_self, name, kept, _out):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=kept)

    Outputs._take_back = forget


def subfolder_forgotten():
    """Claim from a subfolder without a note of it."""
    from resumed import origin

    origin.note = lambda *_: None


def crc_ignored():
    """Believe a line without looking at its sum."""
    import json

    from resumed import journal

    def unseal(line):
        try:
            record = json.loads(line)
            return record if isinstance(record["n"], int) and line.endswith(b"\n") else None
        except (ValueError, TypeError, KeyError):
            return None

    journal.unseal = unseal
    journal.judge.__defaults__ = (unseal,)


def lease_not_asked_again():
    """Take a file although somebody has opened it since the gate asked."""
    from resumed.spool import Spool

    real = Spool._move_in

    def move_in(self, one, id_, folder_fd, last):
        from resumed import stranger

        asked = stranger.has_writer
        stranger.has_writer = lambda _fd: False
        try:
            return real(self, one, id_, folder_fd, last)
        finally:
            stranger.has_writer = asked

    Spool._move_in = move_in


def answered_before_done():
    """Answer a wish before it is done."""
    from resumed.control import Control

    real = Control._do_items

    def do_items(self, wish):
        self._record(wish.name, wish.verb, [], ok=True)
        self._recorder.commit()
        self._record = lambda *_, **__: None
        try:
            real(self, wish)
        finally:
            del self._record

    Control._do_items = do_items


def jobs_never_synced():
    """Tell of parts what their job's journal has not on the disk."""
    from resumed.jobbook import JobBook

    def commit(self, *, urgent=False):
        del urgent
        self._journal.write()
        actions, self._waiting = self._waiting, []
        for action in actions:
            action()

    JobBook.commit = commit


def unseen_is_gone():
    """Take a file for gone when the disk refuses to show it."""
    from resumed import sight

    sight.none_or_raise = lambda *_: None


BUGS = {
    each.__name__: each
    for each in (
        ack_before_sync,
        no_sync,
        retry_sync,
        no_sync_of_rewritten_journal,
        no_folder_sync,
        no_sync_of_batches,
        no_folder_sync_after_rewriting,
        no_sync_of_done,
        rewrite_in_place,
        unlink_before_rename,
        stale_temporary_blocks,
        move_before_record,
        append_after_torn,
        forget_all_on_torn,
        newline_is_commit,
        short_write_ignored,
        step_told_before_sync,
        steps_lost_in_rewriting,
        claim_unsynced,
        request_gone_before_answer,
        damage_called_torn,
        moves_replace,
        forgotten_when_done,
        output_folder_unsynced,
        output_forgotten,
        subfolder_forgotten,
        crc_ignored,
        lease_not_asked_again,
        answered_before_done,
        jobs_never_synced,
        unseen_is_gone,
    )
}

# The sweep to ask first; without a word here it is the kills.
FOUND_BY = {
    "ack_before_sync": "power strict",
    "no_sync": "power strict",
    "retry_sync": "errors",
    "no_sync_of_rewritten_journal": "power strict",
    "no_folder_sync": "power strict",
    "no_sync_of_batches": "power strict",
    "no_folder_sync_after_rewriting": "power strict",
    "no_sync_of_done": "power strict, at the end",
    "rewrite_in_place": "early kills",
    "unlink_before_rename": "early kills",
    "stale_temporary_blocks": "early kills",
    "steps_lost_in_rewriting": "twice",
    "append_after_torn": "torn",
    "forget_all_on_torn": "torn",
    "newline_is_commit": "damage",
    "short_write_ignored": "short",
    "step_told_before_sync": "power strict",
    "claim_unsynced": "power strict",
    "output_folder_unsynced": "outputs",
    "output_forgotten": "outputs",
    "damage_called_torn": "damage",
    "crc_ignored": "damage",
    "lease_not_asked_again": "deeds",
    "answered_before_done": "wishes",
    "jobs_never_synced": "power strict",
    "unseen_is_gone": "looks",
}
