"""Hold the table of who may import whom, and where the rare calls live.

A module imports only from lower rows; lazy imports and those for types count too. The
table is data: a new module is a new entry in it.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "resumed"

# From the bottom to the top; the number is the layer of the design, which has rows of its own
# where one noun of a layer is made of another.
ROWS: tuple[tuple[int, str], ...] = (
    (0, "errors paths text"),
    (1, "durable events journald memory model notify orphans settings signals stranger terminal"),
    (1, "alive due filesystem mark mounts now owner pace roll toml when writers"),
    (
        2,
        "arrival entry hints listing place finding policy records reference request rules schedule",
    ),
    (2, "address ear launch prove scratch sidecar tables wire progress.errors progress.table"),
    (2, "litter"),
    (2, "origin raised shelf sight"),
    (2, "documents folders gate hooks jobledger journal kinds ledger probe verdict"),
    (2, "alarms config history intake selection space spool"),
    (2, "bookmark compaction progress.parts progress.remaining progress.states"),
    (2, "jobbook recorder skim tally progress.base"),
    (3, "alert channel command log output report streams watch progress.jobfile progress.shards"),
    (3, "attempt item process progress.dynamodb progress.embedded progress.handoff progress.redis"),
    (3, "neighbours pledges pool reduction supply"),
    (3, "program"),
    (3, "worker"),
    (4, "claims progress.places comparison gathering jobs reconcile runner view"),
    (4, "elsewhere jobview jobyard parts resume splitting story upkeep"),
    (4, "glance openjob"),
    (4, "audit chronicle closing jobqueue piecework salvage"),
    (4, "jobsalvage opening"),
    (4, "foreman"),
    (4, "jobwishes"),
    (4, "control"),
    (5, "assembly"),
    (5, "asking beginning commandline completing engine phrases picture site standing"),
    (5, "bulletin check dropping failing health jobasking lookout mending telling watching why"),
    (5, "hardening metrics observing"),
    (5, "daemon doctor jobbing submitting looking page wishing wondering"),
    (5, "drain examining"),
    (5, "cli ctl"),
)
LAYERS = {module: row for row, (_, modules) in enumerate(ROWS) for module in modules.split()}

# What `import resumed` offers to a handler, loaded when it is asked for.
PUBLIC_NAMES_COME_FROM = {"errors", "item", "policy"}

COMMAND_LINE = {
    "cli",
    "commandline",
    "completing",
    "ctl",
    "dropping",
    "examining",
    "failing",
    "jobbing",
    "looking",
    "mending",
    "site",
    "submitting",
    "telling",
    "wishing",
    "wondering",
}
HOMES = {
    "boto3": {"progress.dynamodb", "progress.handoff"},
    "botocore": {"progress.dynamodb", "progress.handoff"},
    "click": COMMAND_LINE,
    "pythonjsonlogger": {"log"},
    "redis": {"progress.redis"},
    "rich": {"terminal", "watching"},
    "sdnotify": {"notify"},
    "tenacity": {"policy"},
    "watchdog": {"watch"},
}

DURABLE_CALLS = {
    "fdatasync", "flock", "fsync", "lockf", "rename", "renameat2", "renames", "syncfs",
}  # fmt: skip
# It asks for a shared lock, where the kernel does not list them, to see whether one is held.
ALLOWED_CALLS = {"alive": {"flock"}}


def modules() -> dict[str, Path]:
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, at its top or anywhere below.

    In a module that imports by name, each text that looks like a name may be one.
    """
    by_name = any(
        called(node) in {"import_module", "__import__"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    )
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if by_name and re.fullmatch(r"\w+(\.\w+)+", text):
                yield text


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def ours(dotted: str) -> str | None:
    """Name the module of the package that *dotted* means: the longest that exists."""
    parts = dotted.split(".")[1:]
    while parts:
        if ".".join(parts) in MODULES:
            return ".".join(parts)
        parts.pop()
    return None


def edges(tree: ast.Module) -> set[str]:
    return {ours(each) or "" for each in imports(tree) if each.split(".")[0] == "resumed"}


def forbidden(module: str, imported: set[str]) -> set[str]:
    """Pick the edges that the table does not allow."""
    return {each for each in imported - {""} if LAYERS[each] >= LAYERS[module]}


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


each_module = pytest.mark.parametrize("module", sorted(MODULES))


def test_the_table_names_the_modules_that_there_are():
    assert set(MODULES) == set(LAYERS)


@each_module
def test_a_module_imports_only_from_lower_layers(module):
    assert forbidden(module, edges(parse(module))) == set()


def test_the_rows_rise_with_the_layers_of_the_design():
    layers = [layer for layer, _ in ROWS]

    assert layers == sorted(layers)
    assert set(layers) == set(range(6))


def test_the_package_itself_offers_only_the_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())

    assert edges(tree) <= PUBLIC_NAMES_COME_FROM


@pytest.mark.parametrize(
    "source",
    [
        "import resumed.daemon",
        "from resumed import daemon",
        "from resumed.daemon import serve",
        "def later():\n    from resumed.daemon import serve",
        "if TYPE_CHECKING:\n    from resumed.daemon import Daemon",
        "import importlib\nimportlib.import_module('resumed.daemon')",
    ],
)
@pytest.mark.skipif("daemon" not in MODULES, reason="the daemon is not written yet")
def test_every_way_to_import_is_seen(source):
    assert forbidden("journal", edges(ast.parse(source))) == {"daemon"}


@each_module
def test_a_library_has_one_home(module):
    roots = {each.split(".")[0] for each in imports(parse(module))}

    foreign = roots - set(sys.stdlib_module_names) - {"resumed"}

    assert {each for each in foreign if module not in HOMES.get(each, set())} == set()


@each_module
def test_nothing_but_durable_syncs_renames_or_locks(module):
    calls = {called(node) for node in ast.walk(parse(module)) if isinstance(node, ast.Call)}

    if module != "durable":
        assert calls & DURABLE_CALLS <= ALLOWED_CALLS.get(module, set())


@each_module
def test_only_the_programs_print_or_exit(module):
    if module in {"cli", "ctl"}:
        return
    tree = parse(module)
    guarded = {
        id(node) for node in tree.body if isinstance(node, ast.If) for node in ast.walk(node)
    }
    said = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and id(node) not in guarded
        and re.fullmatch(r"print|sys\.exit|exit|SystemExit", ast.unparse(node.func))
    ]

    assert said == []


@each_module
def test_a_module_says_what_it_guarantees_and_stays_short(module):
    tree = parse(module)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert ast.get_docstring(tree)
    assert len(MODULES[module].read_text().splitlines()) <= 300
    for function in functions:
        first = function.body[bool(ast.get_docstring(function)) and len(function.body) > 1]
        assert (function.end_lineno or 0) - first.lineno < 40, function.name
