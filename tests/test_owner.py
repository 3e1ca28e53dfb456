"""Root works for the user whom the state belongs to, in a process of its own."""

import os
import pwd
import subprocess
import sys

import pytest

from resumed import owner

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
NOBODY_HAS = next(
    each for each in range(60000, 65000) if each not in {u.pw_uid for u in pwd.getpwall()}
)


def becoming(state, *more, keep=True):
    """Become the owner of *state* in another process; say who that is, and its groups.

    It may *keep* the rights, not the name, of root: to write down its coverage at its end.
    """
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from resumed import owner\n"
        "owner.become_owner(Path(sys.argv[1]))\n"
        "print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))\n"
    ) + "\n".join(more)
    run = [sys.executable, "-c", script, state]
    without = {} if keep else {"env": {k: v for k, v in os.environ.items() if "COV" not in k}}
    ended = subprocess.run(
        ["setpriv", "--securebits=+no_setuid_fixup", *run] if keep else run,
        capture_output=True,
        text=True,
        check=False,
        **without,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def triple(number):
    return f"({number}, {number}, {number})"


@AS_ROOT
def test_root_becomes_the_owner_of_the_state_with_its_groups(tmp_path):
    user = pwd.getpwnam("daemon")
    os.chown(tmp_path, user.pw_uid, 0)

    [said] = becoming(tmp_path)

    groups = sorted(set(os.getgrouplist(user.pw_name, user.pw_gid)))
    assert said == f"{triple(user.pw_uid)} {triple(user.pw_gid)} {groups}"


@AS_ROOT
def test_root_becomes_an_owner_without_a_name_with_the_folders_group(tmp_path):
    os.chown(tmp_path, NOBODY_HAS, NOBODY_HAS + 1)

    [said] = becoming(tmp_path)

    assert said == f"{triple(NOBODY_HAS)} {triple(NOBODY_HAS + 1)} [{NOBODY_HAS + 1}]"


@AS_ROOT
def test_there_is_no_way_back_to_root(tmp_path):
    os.chown(tmp_path, NOBODY_HAS, NOBODY_HAS)

    _, said = becoming(
        tmp_path, "try: os.setuid(0)", "except PermissionError: print('no way back')", keep=False
    )

    assert said == "no way back"


@AS_ROOT
@pytest.mark.parametrize("what", ["missing", "of root"])
def test_root_stays_root_where_nobody_else_owns_the_state(tmp_path, what):
    state = tmp_path / "missing" if what == "missing" else tmp_path

    [said] = becoming(state)

    assert said.startswith(f"{triple(0)} {triple(0)} ")


def test_whoever_is_not_root_stays_who_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "setuid", None)
    os.chmod(tmp_path, 0o700)

    owner.become_owner(tmp_path)


@AS_ROOT
def test_no_handler_inherits_what_systemd_granted():
    script = (
        "import subprocess\n"
        "from resumed import owner\n"
        "def ambient():\n"
        "    return subprocess.check_output(['grep', 'CapAmb', '/proc/self/status'], text=True)\n"
        "print(ambient().split()[1])\n"
        "owner.keep_capabilities()\n"
        "print(ambient().split()[1])\n"
    )
    run = ["setpriv", "--inh-caps=+lease", "--ambient-caps=+lease", sys.executable, "-c", script]

    ended = subprocess.run(run, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    before, after = ended.stdout.split()
    assert int(before, 16) == 1 << 28
    assert int(after, 16) == 0
