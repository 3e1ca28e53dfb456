"""Complete the names of items for a shell; whatever goes wrong, it completes nothing."""

from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import click
from click.shell_completion import CompletionItem

from resumed import documents, glance, place, view
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
            name: documents.state_name(entry.state)
            for entry in items
            for name in (entry.name, entry.kept_as or entry.name)
            if name.startswith(incomplete)
        }
        # A name that has to be escaped could not be typed as it is shown.
        return [
            CompletionItem(name, help=state)
            for name, state in sorted(found.items())[:_LIMIT]
            if (not states or state in states) and escape(name) == name
        ]

    return complete


def arrivals(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of items and of files that lie in the inbox, and paths elsewhere."""
    if "/" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    options = context.find_root().params
    found = names()(context, parameter, incomplete)
    with suppress(ResumedError, OSError):
        inbox = place.find(options.get("file"), home=options.get("home")).inbox
        lying = islice(
            (each for each in glance.names(inbox) if each.startswith(incomplete)), _LIMIT
        )
        found += [CompletionItem(each, help="inbox") for each in lying if escape(each) == each]
    return found
