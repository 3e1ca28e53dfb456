import subprocess
import sys

import pytest

ENDING = """\
import atexit, gc, sys
from resumed import {module}
atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "not frozen"))
sys.argv = ["it", "no-such-command"]
{module}.main()
"""


@pytest.mark.parametrize("module", ["cli", "ctl"])
def test_a_program_ends_with_its_status_and_without_looking_for_garbage(module):
    ended = subprocess.run(
        [sys.executable, "-c", ENDING.format(module=module)], capture_output=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (2, b"frozen\n")
