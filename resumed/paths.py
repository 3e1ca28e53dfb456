"""Lay out one instance: where its folders and files are, as seen from spool and state."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Name every folder and file that belongs to one instance."""

    spool: Path
    state: Path
    inbox: Path
    active: Path
    hold: Path
    done: Path
    failed: Path
    out: Path
    journal: Path
    jobs: Path
    history: Path
    requests: Path
    lock: Path

    @classmethod
    def below(cls, spool: Path, state: Path, inbox: Path | None = None) -> "Paths":
        """Lay everything out below *spool* and *state*; only the inbox may be elsewhere."""
        return cls(
            spool=spool,
            state=state,
            inbox=inbox or spool / "inbox",
            active=spool / "active",
            hold=spool / "hold",
            done=spool / "done",
            failed=spool / "failed",
            out=spool / "out",
            journal=state / "journal.jsonl",
            jobs=state / "jobs",
            history=state / "history",
            requests=state / "requests",
            lock=state / "lock",
        )
