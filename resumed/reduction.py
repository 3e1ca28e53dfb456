"""Give a reduce what all parts of a job have come to.

A reduce is a function of one argument, a `Job`::

    def reduce(job):
        total = sum(result["amount"] for part, result in job.results())
        return {"total": total, "batch": job.metadata.get("batch")}

It is recorded done once. It may be called again when a crash fell between its return and
that record, and then `Job.key` is the same, for services that can tell.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from resumed.item import Item, Teller
from resumed.model import JSON, Record
from resumed.scratch import Scratch
from resumed.wire import Assignment


class Job(Item):
    """One job whose parts have ended, in one attempt of its reduce.

    *id* is the reduce's, *job* the job's; *name* is the file's name and *path* where it is
    now; *metadata* is what the file, or whoever submitted the job, tells about it. Steps,
    outputs and the log are those of an `Item`.
    """

    def __init__(
        self,
        assignment: Assignment,
        scratch: Scratch,
        out: Path,
        teller: Teller,
        reduce: Record,
    ) -> None:
        super().__init__(assignment, scratch, out, teller)
        self.id = str(assignment.job)
        self.metadata: dict[str, JSON] = reduce["metadata"]
        self.results_path = Path(reduce["results"])
        """A file of JSON lines, one a part: ``{"part": ID, "result": ...}``."""

    def results(self) -> Iterator[tuple[str, JSON]]:
        """Yield id and result of each part that is done, in the order of the file.

        They are read as they are asked for, so that a million of them fit in any memory.
        """
        with self.results_path.open("rb") as lines:
            for line in lines:
                each = json.loads(line)
                yield each["part"], each["result"]
