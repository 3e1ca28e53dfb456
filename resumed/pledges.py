"""Record a suspect's attempt before a worker is sent it, and take that back where none began.

What died with the program may do so again before anybody heard that it began; so the record
comes first. But what was only sent, and given back, is not to be charged at the next start.
"""

from collections.abc import Iterable

from resumed.model import Running
from resumed.recorder import Recorder


class Pledges:
    """The records of attempts that were made ahead of the attempts."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def make(self, item_id: str) -> None:
        """Record, durably, that an item's next attempt begins; a part is none of ours."""
        entry = self._recorder.ledger.items.get(item_id)
        if entry is not None:
            self._recorder.record("started", id=item_id, attempt=entry.attempts + 1)
            self._recorder.commit()

    def take_back(self, item_ids: Iterable[str]) -> None:
        """Record that those of the items that were said to run did not begin."""
        for item_id in item_ids:
            entry = self._recorder.ledger.items.get(item_id)
            if entry is not None and isinstance(entry.state, Running):
                attempt = entry.state.attempt
                self._recorder.record_lazily("interrupted", id=item_id, attempt=attempt)
