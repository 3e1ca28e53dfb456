"""Look for the exceptions that a configuration names, in a process of its own.

To know whether ``mymodule.Busy`` exists, its module has to be imported, which may do anything:
so this runs as a program, with the folder of the configuration and the names as its arguments,
and prints one JSON object: each name that means no exception, and why.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from resumed.launch import clean_environ

_SECONDS = 60.0


def faults(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Say of each of *names* that means no exception why; asked of a new process."""
    if not names:
        return {}
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(folder), *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env=clean_environ(os.environ),
        )
        # Whatever an import may print comes before.
        found = json.loads(ended.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return dict.fromkeys(names, f"its module was not imported in {_SECONDS:g} s")
    except subprocess.CalledProcessError as error:
        fault = f"its import ended the process with status {error.returncode}"
        return dict.fromkeys(names, fault)
    except (OSError, IndexError, ValueError) as error:
        return dict.fromkeys(names, f"its module cannot be imported: {error}")
    return dict(found)


def main() -> None:
    """Be that process."""
    folder, *names = sys.argv[1:]
    sys.path.insert(0, folder)
    told = {name: fault for name in names if (fault := _fault(name)) is not None}
    sys.stdout.write(f"\n{json.dumps(told)}\n")


def _fault(name: str) -> str | None:
    module, _, rest = name.rpartition(".")
    if not module:
        return None  # of Python itself, and known to be
    try:
        found = getattr(importlib.import_module(module), rest, None)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name!r}"
    except Exception as error:  # noqa: BLE001 - somebody's module may raise anything
        return f"its module cannot be imported: {error}"
    if found is None:
        return f"{module} has no {rest!r}"
    is_exception = isinstance(found, type) and issubclass(found, BaseException)
    return None if is_exception else "is no exception"


if __name__ == "__main__":
    main()
