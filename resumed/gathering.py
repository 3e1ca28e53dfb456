"""Write what all parts of a job have come to into one file, in the order of the job's file.

The results are in the job's journal, in the order in which parts were done. Memory for a
place of each is there already: that of their offsets in a file that needs not be read again.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from resumed import durable, jobbook, records
from resumed.roll import DONE, Roll

RESULTS = "results.jsonl"
BETWEEN_CLOCKS = 16


def gather(parts: Roll, journal_path: Path, folder: Path) -> Iterator[None]:
    """Write `RESULTS` in *folder*, durable at the end; yields every few records.

    The offsets of *parts* mean nothing to their file after that.
    """
    offsets = parts.offsets
    with journal_path.open("rb", buffering=1 << 18) as journal:
        for turn, (mark, offset, key) in enumerate(jobbook.done_places(journal)):
            number = parts.find(mark)
            if number is not None and records.unkey(key)[1] == parts.contents[number]:
                offsets[number] = offset
            if not turn % BETWEEN_CLOCKS:
                yield
        with (folder / RESULTS).open("wb", buffering=1 << 18) as results:
            for turn, number in enumerate(parts.order):
                if parts.states[number] == DONE:
                    journal.seek(offsets[number])
                    results.write(jobbook.result_line(journal.readline()))
                if not turn % BETWEEN_CLOCKS:
                    yield
            results.flush()
            durable.sync(results.fileno())
    for each in (folder, folder.parent):
        fd = durable.open_folder(each)
        try:
            durable.sync_folder(fd)
        finally:
            os.close(fd)
