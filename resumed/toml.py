"""Read a TOML file and know on which line each of its keys stands.

The standard library's parser forgets the lines. A person who is told of a mistake needs
them, so they are looked up afterwards, and only then, in the text of the file.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from resumed.errors import ConfigError, Mistake

Key: TypeAlias = "tuple[str | int, ...]"

_STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|(?P<comment>\#[^\n]*)",
    re.DOTALL,
)
_NOT_LINE_END = re.compile(r"[^\n]")
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_ASSIGNMENT = re.compile(r"([^=]+)=")
_SYNTAX_LINE = re.compile(r" \(at line (\d+), column \d+\)\Z")
_SYNTAX_END = " (at end of document)"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says; *values* are plain Python values, tables are dicts."""

    file: Path
    text: str
    values: dict[str, Any]

    def mistake(self, key: Key, fault: str) -> Mistake:
        """Point at the line of *key*, else of the nearest table around it."""
        lines = dict(_keys_with_lines(self.text))
        while key and key not in lines:
            key = key[:-1]
        return Mistake(self.file, lines.get(key, 0), fault)


def read(file: Path) -> Document:
    """Parse *file*.

    Raises:
        ConfigError: The file cannot be read, is not UTF-8, or is not TOML.
    """
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        fault = f"{error.strerror}; name another with -c or --home, or make one with 'resumed init'"
        raise ConfigError((Mistake(file, 0, fault),)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError((Mistake(file, line, "is not UTF-8; save it as UTF-8"),)) from error
    text = text.replace("\r\n", "\n")
    try:
        return Document(file, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_syntax_mistake(file, text, str(error)),)) from error


def _syntax_mistake(file: Path, text: str, message: str) -> Mistake:
    found = _SYNTAX_LINE.search(message)
    line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1
    fault = _SYNTAX_LINE.sub("", message).removesuffix(_SYNTAX_END)
    return Mistake(file, line, f"is not TOML: {fault[:1].lower()}{fault[1:]}")


def _keys_with_lines(text: str) -> Iterator[tuple[Key, int]]:
    """Yield each key of a sound document, and each table's header, with its line."""
    masked = _STRING_OR_COMMENT.sub(_blank, text)
    table: Key = ()
    counts: dict[Key, int] = {}
    depth = offset = 0
    for number, line in enumerate(masked.split("\n"), start=1):
        if depth == 0:
            if header := _HEADER.match(line):
                table = _key(text[offset + header.start(2) : offset + header.end(2)])
                if header[1] == "[[":
                    yield table, number
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                yield table, number
            elif assignment := _ASSIGNMENT.match(line):
                name = text[offset + assignment.start(1) : offset + assignment.end(1)]
                yield (*table, *_key(name)), number
        depth += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))
        offset += len(line) + 1


def _blank(found: re.Match[str]) -> str:
    """Hide what is in strings and comments, at the same length and on the same lines."""
    return _NOT_LINE_END.sub(" " if found["comment"] else "_", found[0])


def _key(written: str) -> Key:
    """Let the parser itself take a dotted or quoted key apart."""
    parts = []
    value: Any = tomllib.loads(f"{written.strip()} = 0")
    while isinstance(value, dict):
        ((name, value),) = value.items()
        parts.append(name)
    return tuple(parts)
