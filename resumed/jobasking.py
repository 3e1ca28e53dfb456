"""Give a failed job another file: lay it into the inbox, unseen, and ask the daemon for it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from resumed import durable
from resumed.asking import Answer, ask
from resumed.settings import Paths


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
