"""Kill the daemon alone, without a cgroup: what it leaves never runs beside its successor."""

import os
import signal

import pytest

# A call into C that keeps the interpreter's lock: no thread of the worker can notice anything.
DEAF = """
import ctypes, fcntl, os


def process(item):
    tell("begin")
    alone = os.open(os.environ["ORACLE"] + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("overlap")
    if item.attempt == 1:
        ctypes.PyDLL(None).sleep(5)
    tell("end")


def tell(what):
    log = os.open(os.environ["ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, f"{what} {os.getpid()}{chr(10)}".encode())
    os.close(log)
"""

COMMAND = """
settle = 0
command = ["sh", "-c", '''
exec 9>"$ORACLE.lock"
echo begin $$ >>"$ORACLE"
flock -n 9 || echo overlap $$ >>"$ORACLE"
if [ "$RESUMED_ATTEMPT" = 1 ]; then sh -c 'sleep 5; echo grandchild >>"$ORACLE"' & wait; fi
echo end $$ >>"$ORACLE"
''']
"""


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    monkeypatch.setenv("ORACLE", str(tmp_path / "oracle"))
    (tmp_path / "oracle").touch()
    return tmp_path / "oracle"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("kind", ["deaf", "stopped", "command"])
def test_no_orphan_runs_beside_the_next_attempt(home, daemon, oracle, wait_until, kind):
    if kind == "command":
        home.configure(COMMAND)
    else:
        home.configure('handler = "handler:process"\nsettle = 0\n', handler=DEAF)
    first = daemon()
    (home.inbox / "item").write_text("text")
    wait_until(lambda: oracle.read_text().startswith("begin"))
    orphan = int(oracle.read_text().split()[1])
    if kind == "stopped":
        os.kill(orphan, signal.SIGSTOP)

    first.kill()
    second = daemon()

    wait_until(lambda: home.names("done") == ["item"], 60, what=second.tail)
    words = [line.split()[0] for line in oracle.read_text().splitlines()]
    assert words == ["begin", "begin", "end"]
    assert not is_alive(orphan)
    assert [each["attempt"] for each in home.records("started")][-1] == 2
    assert second.stop() == 0
