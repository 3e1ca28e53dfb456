"""Give a failed job another file: compare it, lay it into the inbox, unseen, and ask for it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from resumed import comparison, durable, jobbook
from resumed.asking import Answer, ask
from resumed.comparison import Comparison
from resumed.entry import Entry
from resumed.records import UnusableError
from resumed.settings import Paths


def compare(paths: Paths, entry: Entry, file: Path, id_field: str | None) -> Comparison | None:
    """Say what of the job *entry* is new, changed, unchanged or gone in *file*.

    Returns None when nothing was recorded of its parts, or nothing of *file* can be read.

    Raises:
        OSError: The file cannot be read.
        JournalError: A person must look at the job's journal.
    """
    journal = jobbook.find(paths.jobs, entry.id)
    if journal is None:
        return None
    with suppress(UnusableError):
        return comparison.compare(journal, lambda: file.open("rb"), entry.name, id_field)
    return None


def retry_with(paths: Paths, job_id: str, file: Path) -> list[Answer]:
    """Ask that the failed job *job_id* goes on with *file*, of which a copy is made.

    Raises:
        OSError: The file cannot be read, or the inbox is closed to this user.
        RefusedError: This user may not ask.
        StorageError: The disk refused.
    """
    name = f"{durable.TEMPORARY_PREFIX}{os.urandom(8).hex()}"
    target = paths.inbox / name
    try:
        with file.open("rb") as source, target.open("xb") as copy:
            target.chmod(0o640)
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            durable.sync(copy.fileno())
    except OSError:
        with suppress(OSError):
            target.unlink()
        raise
    answers = ask(paths, "retry", [job_id], replacement=name)
    if not all(each.ok for each in answers):
        with suppress(OSError):
            target.unlink()
    return answers
