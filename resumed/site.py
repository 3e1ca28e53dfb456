"""Carry from command to command where the instance is, and print for all of them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from resumed import listing, place
from resumed.paths import Paths

if TYPE_CHECKING:
    from resumed.settings import Config


@dataclass
class Site:
    """The instance that the options mean; nothing is read before it is asked for."""

    file: Path | None
    home: Path | None

    @cached_property
    def paths(self) -> Paths:
        """Name its folders, even when its configuration is wrong.

        Raises:
            ConfigError: The file cannot be read at all.
        """
        return place.find(self.file, home=self.home)

    def config(self) -> "Config":
        """Read its whole configuration.

        Raises:
            ConfigError: It has mistakes.
        """
        from resumed import config  # noqa: PLC0415 - half of the start-up, for a few commands

        return config.load(self.file, home=self.home)

    @property
    def command(self) -> str:
        """Write how `resumed-ctl` is called for this instance, for advice."""
        if self.file is not None:
            return f"resumed-ctl -c {self.file}"
        return f"resumed-ctl --home {self.home}" if self.home else "resumed-ctl"


pass_site = click.make_pass_decorator(Site)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, in ASCII."
)


def show(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of columns."""
    for line in listing.columns(rows):
        click.echo(line)


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(listing.document(value))


def warn(message: str) -> None:
    """Say something beside the answer."""
    click.echo(f"resumed-ctl: {message}", err=True)


def advise(hint: str) -> None:
    """Say what to do next, to a person only."""
    if sys.stdout.isatty():
        click.echo(hint, err=True)


def styled(shown: str, colour: str) -> str:
    """Colour *shown* for a terminal whose owner has not asked for none (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return shown if plain else click.style(shown, fg=colour)
