"""Complete the names of items for a shell; whatever goes wrong, it completes nothing."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from resumed import documents, place, view
from resumed.errors import ResumedError
from resumed.text import escape

_LIMIT = 1000


def names(*states: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Make what completes the names of items that are in one of *states*, or in any."""

    def complete(
        context: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        options = context.find_root().params
        try:
            paths = place.find(options.get("file"), home=options.get("home"))
            items = view.look(paths).ledger.items.values()
        except (ResumedError, OSError):
            return []
        found = {
            entry.name: documents.state_name(entry.state)
            for entry in items
            if entry.name.startswith(incomplete)
        }
        # A name that has to be escaped could not be typed as it is shown.
        return [
            CompletionItem(name, help=state)
            for name, state in sorted(found.items())[:_LIMIT]
            if (not states or state in states) and escape(name) == name
        ]

    return complete
