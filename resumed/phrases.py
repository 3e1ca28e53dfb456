"""Put the facts of an item into words, one line each, for `show` and `log`."""

from collections.abc import Iterable, Iterator

from resumed import text
from resumed.documents import short_kind
from resumed.listing import document, moment, plural
from resumed.model import JSON, Record, instant
from resumed.text import escape, shorten

_RESULT_LIMIT = 200


def printed(item: Record, facts: Iterable[Record]) -> Iterator[str]:
    """Write the whole story of one item."""
    yield headline(item)
    for fact in facts:
        yield from lines(fact)
    if "due_at" in item:
        yield f"  {moment(instant(item['due_at']))}  attempt {item['attempt'] + 1} is due"


def headline(item: Record) -> str:
    """Name an item and say how it is."""
    name = escape(item["name"]) if item["name"] is not None else "(name no longer kept)"
    told = [item["id"], item["state"]]
    if "size" in item:
        told += [text.size(item["size"]), plural(item["attempts"], "attempt")]
    kept_as = item.get("kept_as")
    if kept_as and kept_as != item["name"]:
        told.append(f"kept as {escape(kept_as)}")
    return f"{name}  ({', '.join(told)})"


def lines(fact: Record) -> Iterator[str]:
    """Write one fact, with what was printed below it."""
    yield f"  {moment(instant(fact['at']))}  {phrase(fact)}"
    for line in fact.get("output", "").splitlines():
        # It was escaped before it was recorded; twice would be hard to read.
        yield f"      | {line if line.isprintable() else escape(line)}"


def phrase(fact: Record) -> str:  # noqa: PLR0911 - one for each kind
    """Put one fact into words."""
    of = {key: escape(str(value)) for key, value in fact.items()}
    where = f" in step {of['step']}" if fact.get("step") else ""
    match fact["kind"]:
        case "claimed" if fact.get("changed"):
            return "changed while it ran: begins anew, as another file"
        case "claimed":
            return f"claimed, {text.size(fact['size'])}"
        case "started":
            return f"attempt {of['attempt']} started"
        case "stepped":
            return f"step {of['step']} done{_result(fact['result'])}"
        case "waiting":
            delay = text.duration(fact["delay"])
            return f"attempt {of['attempt']} failed{where}: {_error(fact)}; next in {delay}"
        case "failed":
            return f"failed for good at attempt {of['attempt']}{where}: {_error(fact)}"
        case "interrupted":
            return f"attempt {of['attempt']} interrupted, does not count"
        case "crashed":
            return f"attempt {of['attempt']} was running when the program died"
        case _:
            return _ended_or_asked(fact, of)


def _ended_or_asked(fact: Record, of: dict[str, str]) -> str:  # noqa: PLR0911 - the same
    match fact["kind"]:
        case "done":
            took = text.duration(fact["seconds"])
            return f"done at attempt {of['attempt']} in {took}{_result(fact['result'])}"
        case "gone":
            return f"gone: {of['why']}"
        case "held":
            return f"held: {of['why']}"
        case "put_away" if fact["as"] is None:
            return "put away: nothing is kept"
        case "put_away":
            return f"put away as {of['as']}"
        case "retried" if fact.get("fresh"):
            return "taken up again, its recorded steps forgotten"
        case "retried":
            return "taken up again"
        case "answered":
            return f"asked to {of['verb'] or 'do something'}: {escape('; '.join(fact['answer']))}"
        case kind:
            return escape(str(kind)).replace("_", " ")


def _error(fact: Record) -> str:
    kind, words = short_kind(str(fact["error"]["kind"])), str(fact["error"]["text"])
    return escape(f"{kind}: {words}" if words else kind)


def _result(result: JSON) -> str:
    return "" if result is None else f": {shorten(document(result), _RESULT_LIMIT)}"
