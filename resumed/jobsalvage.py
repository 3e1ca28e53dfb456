"""Judge the journals of jobs, and save from a damaged one what is certain.

A job's journal in which a record is damaged is refused like the main one, and the daemon
with it: what stood there may be that a part, or the reduce, is done. `repair` makes a new
one beside the old, which stays as ``ID.broken-TIME``, byte for byte. Every sound record
counts, and one is added that closes the job, so that its file goes to ``failed/`` and a
person decides: of a part whose record is lost nobody knows whether it was done, and
``retry`` runs it again, with the same key.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from resumed import durable, jobbook, journal, salvage
from resumed.errors import JournalCorruptError
from resumed.jobledger import REPAIRED, JobLedger
from resumed.journal import HEADER, SYNCED
from resumed.ledger import Ledger
from resumed.model import Done, Fact, Failed, Record, Removed, instant
from resumed.paths import Paths
from resumed.salvage import Findings

WHY = (
    "its journal was damaged, and what was certain was saved from it; a retry runs every part "
    "of which it is not recorded that it is done"
)
_OURS = frozenset({"n", "s", "g", "at", "kind", "crc"})


@dataclass(frozen=True, slots=True)
class RepairedJob:
    """Say what a repair did to the journal at *path*: what was saved, where the old one is."""

    path: Path
    broken: Path | None
    records: int


def journals(folder: Path, ledger: Ledger) -> list[Path]:
    """Name the journals of the jobs that are not over, oldest first; those that ought to be."""
    opened = {
        folder / f"{entry.id}.jsonl"
        for entry in ledger.items.values()
        if entry.job and not isinstance(entry.state, Done | Removed)
    }
    return sorted(opened | set(folder.glob("*-*.jsonl")))


def judge(path: Path) -> tuple[str, Findings]:
    """Say whether a job's journal is clean, torn, corrupt or missing, and what is in it.

    Raises:
        JournalVersionError: A newer program wrote it.
    """
    try:
        found = salvage.examine(path)
    except FileNotFoundError:
        return "missing", Findings()
    if found.corrupt or not _adds_up(path):
        return "corrupt", found
    return ("torn" if found.bad else "clean"), found


def set_aside(paths: Paths, ledger: Ledger, job_id: str) -> bool:
    """Tell whether a job's file lies in ``failed/``, where a person left it or will see it."""
    entry = ledger.items.get(job_id)
    kept_as = entry.state.kept_as if entry and isinstance(entry.state, Failed) else None
    return kept_as is not None and (paths.failed / kept_as).exists()


def repair(path: Path, generation: str, now: float, *, aside: bool) -> RepairedJob:
    """Replace a damaged journal of a job by what is certain; the lock must be held.

    *aside* says that the job was `set_aside`, so that whatever is asked of it from now on is
    asked by somebody who knows; else the next start sets it aside.

    Raises:
        StorageError: The disk refused; the old journal is in place.
        JournalVersionError: A newer program wrote it.
    """
    state, found = judge(path)
    facts = _certain(found)
    facts.append(
        Fact("closed", now, {"error": {"kind": "damaged" if aside else REPAIRED, "text": WHY}})
    )
    header = Fact(HEADER, now, {"counts": {}})
    content = journal.whole(generation, found.generation or None, header, facts)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    broken, fresh = f"{path.stem}.broken-{stamp}", f"{path.stem}.fresh"
    folder = durable.open_folder(path.parent)
    try:
        durable.write_whole(folder, fresh, content)
        _, reading = jobbook.replay(path.with_name(fresh))
        if reading.torn or reading.length_bytes != len(content):
            raise JournalCorruptError(path.with_name(fresh), 0, "does not read as it was written")
        if state == "missing":
            durable.move(folder, fresh, folder, path.name)
            durable.sync_folder(folder)
        else:
            durable.supersede(folder, fresh, path.name, broken)
    finally:
        os.close(folder)
    kept = None if state == "missing" else path.with_name(broken)
    return RepairedJob(path, kept, len(facts) - 1)


def _adds_up(path: Path) -> bool:
    try:
        jobbook.replay(path)
    except JournalCorruptError:
        return False
    return True


def _certain(found: Findings) -> list[Fact]:
    """Return the records that are sound and follow from those before them."""
    ledger, facts = JobLedger(), []
    for _, record in found.records:
        if record["kind"] in (HEADER, SYNCED):
            continue
        try:
            ledger.apply(record)
        except (KeyError, TypeError, ValueError):
            continue
        told: Record = {name: value for name, value in record.items() if name not in _OURS}
        facts.append(Fact(record["kind"], instant(record["at"]), told))
    return facts
