"""Read a configuration, and tell all of its mistakes at once, each with its line.

`load` makes a `Config` or raises; there is nothing in between. The settings themselves are
described in `resumed.reference`, their values in `resumed.settings`. An unknown key is a
mistake, since a misspelt one would otherwise be silence.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resumed import kinds, toml
from resumed.errors import ConfigError, Mistake
from resumed.reference import REFERENCE, TABLES, Setting, template
from resumed.settings import (
    Command,
    Config,
    Expectations,
    JobSettings,
    LogSettings,
    Paths,
    PythonHandler,
    RetryPolicy,
    Step,
    Tolerance,
)

__all__ = [
    "DEFAULT_FILE",
    "REFERENCE",
    "Command",
    "Config",
    "Expectations",
    "JobSettings",
    "LogSettings",
    "Paths",
    "PythonHandler",
    "RetryPolicy",
    "Setting",
    "Step",
    "Tolerance",
    "load",
    "template",
]

DEFAULT_FILE = Path("/etc/resumed/resumed.toml")
FILE_AT_HOME = "resumed.toml"
_SPOOL = Path("/var/spool/resumed")
_STATE = Path("/var/lib/resumed")
_FORMS = ("handler", "command", "steps")
_SETTINGS = {setting.key: setting for setting in REFERENCE}


def load(file: Path | None = None, *, home: Path | None = None) -> Config:
    """Read *file*, else the one in *home*, else the one of the system.

    With *home* everything lives below it, unless the file says otherwise.

    Raises:
        ConfigError: The file cannot be read or followed; it holds every mistake found.
    """
    if file is None:
        file = home / FILE_AT_HOME if home else DEFAULT_FILE
    reading = _Reading(toml.read(file.absolute()))
    config = reading.config(home.absolute() if home else None)
    if config is None or reading.mistakes:
        raise ConfigError(tuple(sorted(reading.mistakes, key=lambda mistake: mistake.line)))
    return config


class _Reading:
    """One pass over a document, which collects mistakes and goes on."""

    def __init__(self, document: toml.Document) -> None:
        self.mistakes: list[Mistake] = []
        self._document = document
        self._folder = document.file.parent

    def config(self, home: Path | None) -> Config | None:
        """Build what the document says, None if it does not even say what to run."""
        tables = self._tables()
        top = tables[""]
        paths = self._paths(tables["paths"], home, recursive=top.get("recursive", False))
        handler = self._handler(top)
        retry = self._retry(tables["retry"])
        job = self._job(tables["job"])
        if handler is None:
            return None
        return Config(
            file=self._document.file,
            folder=self._folder,
            handler=handler,
            paths=paths,
            retry=retry,
            log=LogSettings(**tables["log"]),
            job=job,
            expect=Expectations(**tables["expect"]),
            **{name: value for name, value in top.items() if name not in _FORMS},
        )

    def _tables(self) -> dict[str, dict[str, Any]]:
        """Sort every sound value under its table and the field it belongs into."""
        tables: dict[str, dict[str, Any]] = {"": {}, **{table: {} for table in TABLES}}
        for name, value in self._document.values.items():
            if name not in TABLES:
                self._take((name,), value, tables[""])
            elif isinstance(value, dict):
                for inner, inner_value in value.items():
                    self._take((name, inner), inner_value, tables[name])
            else:
                self._wrong((name,), f"{name} is a table: write [{name}] on a line of its own")
        return tables

    def _take(self, key: toml.Key, value: object, fields: dict[str, Any]) -> None:
        setting = _SETTINGS.get(".".join(map(str, key)))
        if setting is None:
            self._wrong(key, _unknown(*map(str, key)))
        elif setting.kind == "steps":
            fields[setting.name] = self._steps(value)
        else:
            self._convert(key, setting, value, fields)

    def _convert(
        self, key: toml.Key, setting: Setting, value: object, fields: dict[str, Any]
    ) -> None:
        try:
            converted = kinds.KINDS[setting.kind](value)
        except ValueError as error:
            self._wrong(key, f"{setting.key} {_continued(error)}")
            return
        if setting.kind == "path":
            converted = self._absolute(converted)
        if setting.kind == "paths":
            converted = tuple(map(self._absolute, converted))
        fields[_field(setting)] = converted

    def _handler(self, top: Mapping[str, Any]) -> PythonHandler | Command | tuple[Step, ...] | None:
        given = [form for form in _FORMS if form in self._document.values]
        if not given:
            self._wrong((), 'says nothing to run: set handler = "module:function", or command')
        for surplus in given[1:]:
            self._wrong((surplus,), f"{surplus} beside {given[0]}: keep one of them")
        return next((top[form] for form in given if form in top), None)

    def _steps(self, tables: object) -> tuple[Step, ...]:
        well_formed = isinstance(tables, list) and all(isinstance(one, dict) for one in tables)
        if not isinstance(tables, list) or not well_formed or not tables:
            self._wrong(("steps",), "steps are tables: write [[steps]] above each")
            return ()
        steps = [self._step(("steps", at), table) for at, table in enumerate(tables)]
        names: set[str] = set()
        for at, step in enumerate(steps):
            if step is not None and step.name in names:
                self._wrong(("steps", at, "name"), f"a second step named {step.name!r}")
            if step is not None:
                names.add(step.name)
        return tuple(step for step in steps if step is not None)

    def _step(self, key: toml.Key, table: Mapping[str, object]) -> Step | None:
        accepted = {"name": "step name", "handler": "function", "command": "placed command"}
        fields: dict[str, Any] = {}
        for name, value in table.items():
            if name not in accepted:
                meant = kinds.nearest(name, accepted)
                hint = f"; did you mean {meant}?" if meant else ""
                self._wrong((*key, name), f"unknown key {name!r} in a step{hint}")
                continue
            convert = kinds.KINDS[accepted[name]]
            try:
                fields[name] = convert(value)
            except ValueError as error:
                self._wrong((*key, name), f"{name} {_continued(error)}")
        if "name" not in table:
            self._wrong(key, "a step needs a name")
        if ("handler" in table) == ("command" in table):
            self._wrong(key, "a step needs either handler or command")
        run = fields.get("handler", fields.get("command"))
        return Step(fields["name"], run) if run and "name" in fields else None

    def _retry(self, fields: dict[str, Any]) -> RetryPolicy:
        transient, permanent = fields.pop("exit_codes", (frozenset(), frozenset()))
        policy = RetryPolicy(transient_exits=transient, permanent_exits=permanent, **fields)
        if policy.max_seconds < policy.initial_seconds:
            key = "max" if "max_seconds" in fields else "initial"
            self._wrong(("retry", key), "retry.max is shorter than retry.initial")
        return policy

    def _job(self, fields: dict[str, Any]) -> JobSettings | None:
        if fields.get("match"):
            return JobSettings(**fields)
        if fields and "match" not in fields:
            self._wrong(("job",), "job.match is missing: it says which files are jobs")
        return None

    def _paths(self, given: Mapping[str, Path], home: Path | None, *, recursive: bool) -> Paths:
        paths = Paths.below(
            spool=given.get("spool", home or _SPOOL),
            state=given.get("state", home / "state" if home else _STATE),
            inbox=given.get("inbox"),
        )
        ours = (paths.active, paths.hold, paths.done, paths.failed, paths.out, paths.state)
        inside = next((folder for folder in ours if paths.inbox.is_relative_to(folder)), None)
        around = next((folder for folder in ours if folder.is_relative_to(paths.inbox)), None)
        if inside:
            self._wrong(("paths", "inbox"), f"paths.inbox lies in {inside}; choose another folder")
        elif around and (recursive or paths.inbox == paths.spool):
            fault = f"paths.inbox holds {around}, which it feeds; choose another folder"
            self._wrong(("paths", "inbox"), fault)
        return paths

    def _absolute(self, path: Path) -> Path:
        return Path(os.path.normpath(self._folder / path))

    def _wrong(self, key: toml.Key, fault: str) -> None:
        self.mistakes.append(self._document.mistake(key, fault))


def _field(setting: Setting) -> str:
    """Name the field of `resumed.settings` for a setting: fields carry their unit."""
    if setting.kind.startswith("duration"):
        return f"{setting.name}_seconds"
    return f"{setting.name}_bytes" if setting.kind == "size" else setting.name


def _continued(error: ValueError) -> str:
    """Let the words of a kind follow the name of the setting."""
    words = str(error)
    return f"= {words}" if words[:1] in "'\"-0123456789[{" or "is not a" in words else words


def _unknown(*key: str) -> str:
    """Say that *key* is unknown, and what was probably meant."""
    *tables, name = key
    table = ".".join(tables)
    fault = f"unknown key {'.'.join(key)!r}"
    near = {setting.name: setting for setting in REFERENCE if setting.table == table}
    if meant := kinds.nearest(name, {**near, **(TABLES if not table else {})}):
        return f"{fault}; did you mean {meant!r}?"
    elsewhere = {setting.name: setting for setting in REFERENCE if setting.table != table}
    if meant := kinds.nearest(name, elsewhere):
        home = elsewhere[meant].table
        place = f"into [{home}]" if home else "to the top, above the first [table]"
        return f"{fault}; {meant!r} belongs {place}"
    return fault
