"""Hold the table of who may import whom, and where the rare calls live.

A module imports only from lower layers; lazy imports and those for types count too. The
table is data: a new module is a new entry, a new edge inside a layer a new exception.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "resumed"

LAYERS = {
    "errors": 0,
    "text": 0,
    "model": 1,
    "events": 1,
    "durable": 1,
    "notify": 1,
    "journald": 1,
    "settings": 1,
    "config": 2,
    "rules": 2,
    "journal": 2,
    "ledger": 2,
    "history": 2,
    "retry": 2,
    "spool": 2,
    "gate": 2,
    "sidecar": 2,
    "request": 2,
    "wire": 2,
    "item": 3,
    "watch": 3,
    "worker": 3,
    "command": 3,
    "output": 3,
    "pool": 3,
    "log": 3,
    "jobs": 4,
    "daemon": 5,
    "ctl": 5,
    "cli": 5,
}

# (who, whom) of one layer, each a half of one noun whose other half grew too long.
WITHIN_A_LAYER: set[tuple[str, str]] = set()

# What `import resumed` offers to a handler, loaded when it is asked for.
PUBLIC_NAMES_COME_FROM = {"errors", "item", "retry"}

HOMES = {
    "click": {"cli", "ctl"},
    "pythonjsonlogger": {"log"},
    "rich": {"cli", "ctl", "log"},
    "sdnotify": {"notify"},
    "tenacity": {"retry"},
    "watchdog": {"watch"},
}

DURABLE_CALLS = {
    "fdatasync", "flock", "fsync", "lockf", "rename", "renameat2", "renames", "syncfs",
}  # fmt: skip


def modules() -> dict[str, Path]:
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, at its top or anywhere below."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


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
    return {
        each
        for each in imported - {""}
        if LAYERS[each] >= LAYERS[module] and (module, each) not in WITHIN_A_LAYER
    }


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


each_module = pytest.mark.parametrize("module", sorted(MODULES))


def test_the_table_names_the_modules_that_there_are():
    assert set(MODULES) == set(LAYERS)


@each_module
def test_a_module_imports_only_from_lower_layers(module):
    assert forbidden(module, edges(parse(module))) == set()


def test_an_exception_is_within_a_layer_and_used():
    for importer, imported in WITHIN_A_LAYER:
        assert LAYERS[importer] == LAYERS[imported]
        assert imported in edges(parse(importer))
        assert importer not in edges(parse(imported))


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
        assert calls & DURABLE_CALLS == set()


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
