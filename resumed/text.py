"""Write what came from outside so that it can harm neither a terminal nor a log.

File names, error messages and the output of programs are not ours: they may hold escape
sequences, line ends, characters that reverse the line, or bytes that are no text at all.
Everything of that kind passes through `escape` before a person sees it.

Durations and sizes are here too, read and written as people do it for systemd: "5min 20s",
"64M".
"""

import math
import re
import unicodedata
from contextlib import suppress

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_UNIT_SECONDS = {
    name: seconds
    for names, seconds in (
        ("us usec µs μs", 1e-6),
        ("ms msec", 1e-3),
        ("s sec second seconds", 1.0),
        ("m min minute minutes", 60.0),
        ("h hr hour hours", 3600.0),
        ("d day days", 86400.0),
        ("w week weeks", 604800.0),
        ("M month months", 2629800.0),
        ("y year years", 31557600.0),
    )
    for name in names.split()
}
_SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([^\W\d_]*)\s*")
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*")
_SIZE_STEP = 1024
_SIZE_PREFIXES = ("", "K", "M", "G", "T")


def escape(text: str) -> str:
    r"""Write *text* on one line, without a character that acts on a terminal or hides.

    Control and format characters, line separators, lone surrogates (bytes of a file name
    that are no UTF-8) and the backslash become escapes such as ``\x1b``, ``\n`` or
    ``\u202e``; all else stays, in any script. Different texts stay different.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if character != "\\" and unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")


def shorten(text: str, limit: int) -> str:
    """Cut *text* to *limit* characters, the last of them an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def tail(output: bytes, limit_bytes: int) -> str:
    """Return the last *limit_bytes* of a program's *output*, its lines escaped one by one.

    A character that the cut went through is dropped. Escapes make the text longer than its
    bytes, by a factor of six at worst.
    """
    kept = output[-limit_bytes:] if limit_bytes > 0 else b""
    if len(kept) < len(output):
        kept = re.sub(rb"\A[\x80-\xbf]{1,3}", b"", kept)
    lines = kept.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return "\n".join(map(escape, lines))


def duration(seconds: float) -> str:
    """Write *seconds* in at most two units, as `parse_duration` reads them: "1min 20s"."""
    if math.isinf(seconds):
        return "infinity"
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:  # noqa: PLR2004 - the number of them in a second
        return f"{milliseconds}ms" if milliseconds else "0s"
    if round(seconds, 1) < 10:  # noqa: PLR2004 - a tenth matters below ten seconds only
        return f"{round(seconds, 1):g}s"
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count)


def parse_duration(span: str | float) -> float:
    """Return the seconds in *span*: "5min 20s", "250ms", "1d", "infinity", 1.5.

    Raises:
        ValueError: *span* is not a duration; the message says what would be.
    """
    if isinstance(span, (int, float)) and not isinstance(span, bool):
        if math.isfinite(span) and span >= 0:
            return float(span)
    elif isinstance(span, str):
        if span.strip() == "infinity":
            return math.inf
        seconds = _sum_of_spans(span)
        if seconds is not None:
            return seconds
    raise ValueError(f'{span!r} is not a duration; write one as "5min 20s", "250ms" or "1d"')


def _sum_of_spans(text: str) -> float | None:
    seconds = 0.0
    at = 0
    while at < len(text):
        span = _SPAN.match(text, at)
        if span is None or (span[2] and span[2] not in _UNIT_SECONDS):
            return None
        seconds += float(span[1]) * _UNIT_SECONDS[span[2] or "s"]
        at = span.end()
    return seconds if text.strip() else None


def parse_size(size: str | int) -> int:
    """Return the bytes in *size*: "64M", "1.5 GiB", 4096. A K is 1024.

    Raises:
        ValueError: *size* is not a size; the message says what would be.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    if isinstance(size, str) and (parts := _SIZE.fullmatch(size)):
        with suppress(OverflowError):  # more digits than any disk has
            return int(float(parts[1]) * _SIZE_STEP ** _SIZE_PREFIXES.index(parts[2]))
    raise ValueError(f'{size!r} is not a size; write one as "64M", "1.5G" or in bytes')


def size(n_bytes: int) -> str:
    """Write *n_bytes* in the largest unit that leaves a number of at least one: "1.5 MiB"."""
    amount = float(n_bytes)
    for prefix in _SIZE_PREFIXES[:-1]:
        # 1023.96 would be written as 1024.0
        if round(amount, 1) < _SIZE_STEP:
            return _with_unit(amount, prefix)
        amount /= _SIZE_STEP
    return _with_unit(amount, _SIZE_PREFIXES[-1])


def _with_unit(amount: float, prefix: str) -> str:
    unit = f"{prefix}iB" if prefix else "B"
    return f"{round(amount, 1):.10g} {unit}"
