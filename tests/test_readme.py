"""Hold the README against the code, so that the two cannot drift.

Run as a program, this writes the configuration reference into the README again.
"""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from resumed import config, errors
from resumed.reference import REFERENCE, TABLES

FILE = Path(__file__).parent.parent / "README.md"
README = FILE.read_text()
SETTINGS = re.compile(r"<!-- settings: [^\n]*-->\n(.*)<!-- end of settings -->", re.DOTALL)


def settings_in_markdown() -> str:
    """Write the reference as the README shows it."""
    parts = []
    for table in ["", *TABLES]:
        heading = f"`[{table}]` {TABLES[table]}" if table else "At the top of the file:"
        rows = ["| setting | default | meaning |", "|---|---|---|"]
        for setting in REFERENCE:
            if setting.table == table:
                default = f"`{setting.default}`" if setting.default else ""
                example = f" For example `{setting.example}`." if setting.example else ""
                rows.append(f"| `{setting.name}` | {default} | {setting.sentence}{example} |")
        parts.append("\n".join(["", heading, "", *rows, ""]))
    return "".join(parts) + "\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_configuration_reference_is_that_of_the_program():
    shown = SETTINGS.search(README)

    assert shown
    assert shown[1] == settings_in_markdown()


def test_every_exit_status_is_in_the_table():
    statuses = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    [table] = re.findall(r"## Exit statuses\n(.*?)\n## ", README, re.DOTALL)

    assert {int(each) for each in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == statuses


@pytest.mark.parametrize("example", blocks("toml"))
def test_an_example_of_a_configuration_is_accepted(example, tmp_path):
    (tmp_path / "resumed.toml").write_text(example)

    accepted = config.load(tmp_path / "resumed.toml", home=tmp_path)

    assert accepted.handler
    assert tomllib.loads(example)


@pytest.mark.parametrize("example", blocks("python"))
def test_an_example_of_a_handler_is_python(example):
    functions = [node.name for node in ast.parse(example).body if isinstance(node, ast.FunctionDef)]

    assert functions == ["process"]


if __name__ == "__main__":
    found = SETTINGS.search(README)
    assert found
    FILE.write_text(README[: found.start(1)] + settings_in_markdown() + README[found.end(1) :])
