"""Turn what stands in a configuration file into a value of the kind that its setting has.

Each function takes one plain TOML value and returns ours, or raises `ValueError` whose
words continue the sentence "timeout ...": they say what the value must be.
"""

import builtins
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from resumed import text
from resumed.rules import SHIPPED_IGNORE
from resumed.settings import (
    AHEAD_AUTO,
    ALARM_PLACEHOLDERS,
    FAILURE_PLACEHOLDERS,
    PLACEHOLDERS,
    Command,
    PythonHandler,
    Tolerance,
)

Value: TypeAlias = Any
Convert: TypeAlias = Callable[[Value], Value]

_LAST_EXIT = 255
_ALL_PERCENT = 100.0
_LONGEST_STEP_NAME = 100
_LONGEST_SECONDS = text.parse_duration("1000y")
_PLACEHOLDERS_ANYWHERE = PLACEHOLDERS | FAILURE_PLACEHOLDERS | ALARM_PLACEHOLDERS
_BRACED = re.compile(r"\{([A-Za-z_]+)\}")
_PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *%")


def nearest(word: str, known: Mapping[str, object] | frozenset[str]) -> str | None:
    """Return the one of *known* that *word* was probably meant to be."""
    import difflib  # noqa: PLC0415 - only a mistake pays for it

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return close[0] if close else None


def duration(value: Value) -> float:
    """Accept a time span that ends while there are calendars to tell its end by."""
    seconds = text.parse_duration(value)
    if math.isinf(seconds):
        raise ValueError("must end some time")
    if seconds > _LONGEST_SECONDS:
        raise ValueError('must be at most "1000y"')
    return seconds


def duration_above_zero(value: Value) -> float:
    """Accept a time span in which something can happen."""
    seconds = duration(value)
    if seconds < 0.1:  # noqa: PLR2004 - the kind's name says it
        raise ValueError('must be at least "100ms"')
    return seconds


def duration_or_none(value: Value) -> float | None:
    """Accept a time span, or none at all."""
    return None if value in ("none", "infinity") else duration_above_zero(value)


def number(value: Value) -> int:
    """Accept a whole number that is not negative."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a whole number, 0 or more")


def number_from_1(value: Value) -> int:
    """Accept a whole number of at least one."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - as all mistakes here
    if value >= 1:
        return value
    raise ValueError("must be at least 1")


def auto_or_number(value: Value) -> int:
    """Accept a whole number, or leave it to the program."""
    if value == "auto":
        return AHEAD_AUTO
    with suppress(ValueError):
        return number(value)
    raise ValueError('must be a whole number, 0 or more, or "auto"')


def switch(value: Value) -> bool:
    """Accept true and false only."""
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def words(value: Value) -> str:
    """Accept any text."""
    if isinstance(value, str):
        return value
    raise ValueError("must be text in quotes")


def text_list(value: Value) -> tuple[str, ...]:
    """Accept a list of texts, none of them empty."""
    if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    raise ValueError('must be a list of texts, such as ["a", "b"]')


def patterns(value: Value) -> tuple[str, ...]:
    """Accept globs for file names."""
    for pattern in text_list(value):
        if "/" in pattern:
            raise ValueError(f"is compared with file names, which hold no '/': {pattern!r}")
    return tuple(value)


def ignored_patterns(value: Value) -> tuple[str, ...]:
    """Accept globs, and "!GLOB" for what the shipped list has."""
    for pattern in patterns(value):
        if pattern.startswith("!") and pattern[1:] not in SHIPPED_IGNORE:
            meant = nearest(pattern[1:], frozenset(SHIPPED_IGNORE))
            hint = f'; did you mean "!{meant}"?' if meant else ""
            raise ValueError(f"takes out what the shipped list does not have: {pattern!r}{hint}")
    return tuple(value)


def marker(value: Value) -> str:
    """Accept a name made from the name of the file that it marks."""
    if words(value).count("{name}") != 1 or value == "{name}" or "/" in value:
        raise ValueError('must be a file name with {name} in it, such as "{name}.ok"')
    return words(value)


def path(value: Value) -> Path:
    """Accept the path of a file or folder."""
    if words(value).startswith("~"):
        raise ValueError("must be written out: a daemon has no ~")
    if value and "\0" not in value:
        return Path(value)
    raise ValueError("must be a path")


def paths(value: Value) -> tuple[Path, ...]:
    """Accept several paths."""
    return tuple(map(path, text_list(value)))


def exceptions(value: Value) -> tuple[str, ...]:
    """Accept names of exceptions; only those of Python itself go without a module."""
    for name in text_list(value):
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"has {name!r}, which names no exception")
        found = getattr(builtins, name, None)
        if "." not in name and not (isinstance(found, type) and issubclass(found, Exception)):
            raise ValueError(f'needs the module before {name!r}, such as "mymodule.{name}"')
    return tuple(value)


def function(value: Value) -> PythonHandler:
    """Accept "module:function"."""
    module, _, name = words(value).partition(":")
    if all(part.isidentifier() for part in [*module.split("."), name]):
        return PythonHandler(module, name)
    raise ValueError('must be "module:function"')


def command(value: Value) -> Command:
    """Accept a program and its arguments as a list."""
    well_formed = isinstance(value, list) and all(
        isinstance(argument, str) and "\0" not in argument for argument in value
    )
    if well_formed and value and value[0]:
        return Command(tuple(value))
    example = value.split() if isinstance(value, str) else ["program", "{path}"]
    raise ValueError(f"must be a list of texts, since no shell is involved, such as {example!r}")


def placed(known: frozenset[str]) -> Convert:
    """Make a function that accepts a command with these placeholders, none of them misspelt."""

    def convert(value: Value) -> Command:
        for word in _BRACED.findall(" ".join(command(value).argv)):
            if word in known:
                continue
            if meant := nearest(word.lower(), known):
                raise ValueError(f"has {{{word}}}; did you mean {{{meant}}}?")
            # others may well be meant for the program, but hooks are seldom tried before they run
            if word in _PLACEHOLDERS_ANYWHERE or known is not PLACEHOLDERS:
                shown = " ".join(f"{{{each}}}" for each in sorted(known))
                raise ValueError(f"has {{{word}}}, which is nothing here; there are {shown}")
        return command(value)

    return convert


def function_or_command(value: Value) -> PythonHandler | Command:
    """Accept either form of a handler."""
    return function(value) if isinstance(value, str) else placed(PLACEHOLDERS)(value)


def step_name(value: Value) -> str:
    """Accept a name that is short and printable, since it is shown everywhere."""
    if words(value) and len(value) <= _LONGEST_STEP_NAME and text.escape(value) == value:
        return words(value)
    raise ValueError(f"must be printable text of at most {_LONGEST_STEP_NAME} characters")


def exit_codes(value: Value) -> tuple[frozenset[int], frozenset[int]]:
    """Accept lists of exit statuses, which are transient and which permanent."""
    if not isinstance(value, dict) or set(value) - {"transient", "permanent"}:
        raise ValueError("must be { transient = [...], permanent = [...] }")
    transient, permanent = (_exits(value.get(key, [])) for key in ("transient", "permanent"))
    if both := transient & permanent:
        raise ValueError(f"has {min(both)} as transient and as permanent")
    return transient, permanent


def _exits(value: Value) -> frozenset[int]:
    if isinstance(value, list) and all(1 <= number(code) <= _LAST_EXIT for code in value):
        return frozenset(value)
    raise ValueError("must list exit statuses from 1 to 255")


def tolerance(value: Value) -> Tolerance:
    """Accept a number of parts, or a percentage of them."""
    if isinstance(value, str) and (parts := _PERCENTAGE.fullmatch(value)):
        if float(parts[1]) > _ALL_PERCENT:
            raise ValueError(f"{value!r} is more than all parts; 100% tolerates every failure")
        return Tolerance(share=float(parts[1]) / _ALL_PERCENT)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Tolerance(failures=value)
    raise ValueError('must be a number of parts or a percentage, such as "2%"')


def choice(*options: str) -> Convert:
    """Make a function that accepts one of *options*."""

    def chosen(value: Value) -> str:
        if value in options:
            return words(value)
        quoted = [f'"{option}"' for option in options]
        raise ValueError(f"must be {', '.join(quoted[:-1])} or {quoted[-1]}")

    return chosen


KINDS: dict[str, Convert] = {
    "archive or delete": choice("archive", "delete"),
    "auto or json or text": choice("auto", "json", "text"),
    "auto or number": auto_or_number,
    "command": command,
    "command on alarm": placed(ALARM_PLACEHOLDERS),
    "command on failure": placed(FAILURE_PLACEHOLDERS),
    "debug or info or warning or error": choice("debug", "info", "warning", "error"),
    "duration": duration,
    "duration from 0.1s": duration_above_zero,
    "duration or none": duration_or_none,
    "exceptions": exceptions,
    "exit codes": exit_codes,
    "function": function,
    "function or command": function_or_command,
    "ignored patterns": ignored_patterns,
    "marker": marker,
    "number": number,
    "number from 1": number_from_1,
    "path": path,
    "paths": paths,
    "patterns": patterns,
    "placed command": placed(PLACEHOLDERS),
    "size": text.parse_size,
    "step name": step_name,
    "switch": switch,
    "text": words,
    "tolerance": tolerance,
}
