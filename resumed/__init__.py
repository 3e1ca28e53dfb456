"""Process files that are dropped into a folder, and survive anything.

A handler imports its names from here: `Item` (for annotations), `TransientError`,
`PermanentError` and the decorator `retry`.
"""

from typing import TYPE_CHECKING, Any

from resumed.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from resumed.item import Item
    from resumed.policy import retry

__all__ = ["Item", "PermanentError", "TransientError", "retry"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute is of any type
    """Load what a handler asks for, and only that: a worker stays small."""
    if name == "Item":
        from resumed.item import Item

        return Item
    if name == "retry":
        from resumed.policy import retry

        return retry
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
