"""Hold what one trial found, as `doctor` tells it."""

from dataclasses import dataclass
from typing import Literal

from resumed.model import Record


@dataclass(frozen=True, slots=True)
class Finding:
    """Say what one trial found; the sentence of what is not fine holds the remedy."""

    verdict: Literal["fine", "warning", "wrong"]
    about: str
    sentence: str

    def document(self) -> Record:
        """Describe it as JSON."""
        return {"verdict": self.verdict, "about": self.about, "sentence": self.sentence}
