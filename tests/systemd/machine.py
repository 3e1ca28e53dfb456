"""A real systemd as PID 1 in a throw-away container, up in a second.

    python machine.py setup   SUITE            build the root file system once (bookworm, trixie)
    python machine.py boot    NAME SUITE       boot NAME; one that was powered off keeps its disk
    python machine.py run     NAME COMMAND...  run a command inside, as root
    python machine.py push    NAME FROM TO     copy a file or tree in
    python machine.py poweroff|crash|destroy NAME
    python machine.py try     SUITE            boot one and throw it away, or say why that fails

It is systemd-nspawn on an overlay over a cached root. What took trials to find:

- A private mount namespace holds the overlay, nspawn's own folder and a fresh cgroup2 mount,
  so nothing stays on the host whatever dies; the host may use cgroup v1 and any PID 1.
- Each container has a cgroup of its own (`--keep-unit`), or all would share one.
- A crash kills every process at once. The page cache survives: it shows that the program
  resumes from any moment, not that it syncs.

Needs root, nspawn, mmdebstrap and the host's apt sources, whose mirrors it uses.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = """systemd systemd-sysv dbus libpam-systemd libnss-systemd python3 ca-certificates
    procps init-system-helpers man-db acl openssh-server openssh-client rsync sudo
    python3-watchdog python3-tenacity python3-sdnotify python3-pythonjsonlogger python3-click
    python3-rich python3-venv python3-pip zsh fish"""
# Noise of a first boot, and timers that would take the apt lock from a test
MASKED = """systemd-firstboot.service console-getty.service getty@.service apt-daily.timer
    apt-daily-upgrade.timer man-db.timer dpkg-db-backup.timer e2scrub_all.timer ssh.service
    ssh.socket"""
SETTINGS = {
    "journald.conf.d/test.conf": "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n",
    # a stuck unit must not hold a test up for 90 s
    "system.conf.d/test.conf": "[Manager]\nDefaultTimeoutStartSec=30s\nDefaultTimeoutStopSec=30s\n",
}
ENVIRONMENT = """PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
    LANG=C.UTF-8 TERM=dumb SYSTEMD_PAGER= SYSTEMD_COLORS=0 PAGER=cat
    DEBIAN_FRONTEND=noninteractive"""
TOOLS = ("systemd-nspawn", "mmdebstrap", "dpkg-checkbuilddeps")
PATIENCE_SECONDS = 60

# Runs in a private mount namespace: $1 root below, $2 disk, $3 name. Becomes nspawn.
LAUNCH = r"""
set -e
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/resumed-$3"
echo $$ > "/sys/fs/cgroup/resumed-$3/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
echo $$ > "$2/pid"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --boot --directory="$2/root" --machine="$3" \
    --register=no --keep-unit --console=pipe --link-journal=no --resolv-conf=copy-host \
    --timezone=off --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN \
    --system-call-filter='bpf perf_event_open @keyring'
"""
SWEEP = r"""
mount -t cgroup2 none /sys/fs/cgroup || exit 0
for turn in $(seq 60); do
    [ -d "$1" ] || exit 0
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$1" ] && sleep 0.05
done
"""


def obstacle() -> str | None:
    """Say what keeps a machine from booting here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return f"needs {' and '.join(missing)}"
    if os.environ.get("RESUMED_DEB"):
        return None
    control = Path(__file__).parents[2] / "packaging/debian/control"
    unmet = subprocess.run(
        ["dpkg-checkbuilddeps", control], capture_output=True, text=True, check=False
    )
    return unmet.stderr.strip() or None


def cache() -> Path:
    """Name the folder for roots and disks, outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    return Path(os.environ.get("RESUMED_TEST_CACHE") or f"{base}/resumed-tests")


def until(happens: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> object:
    """Wait until *happens* answers something true, and return that."""
    limit = time.monotonic() + seconds
    while True:
        if answer := happens():
            return answer
        if time.monotonic() > limit:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def mirrors(suite: str) -> list[str]:
    """Write apt sources for *suite* from the mirrors that this host uses for its own."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(RELEASE)"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    own = {tuple(line.split()[1:]) for line in listed.splitlines() if line.startswith("Debian ")}
    return sorted(
        f"deb {uri} {suite}{dash}{pocket} main"
        for uri, release in own
        for codename, dash, pocket in [release.partition("-")]
    )


def setup(suite: str) -> Path:
    """Build the root file system of *suite* unless it is there, and return it."""
    packages = PACKAGES.split()
    root = cache() / f"root-{suite}"
    stamp = root / ".resumed-tests"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == " ".join(packages):
            return root
        for old in (root, *cache().glob(f".{suite}-*")):
            shutil.rmtree(old, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{suite}-", dir=cache()))
        fresh.chmod(0o755)
        subprocess.run(
            # what it mounts goes with it, even if it is killed
            ["unshare", "--mount", "--pid", "--mount-proc", "--kill-child", "--",
             "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
             f"--include={','.join(packages)}",
             "--dpkgopt=path-exclude=/usr/share/locale/*",
             suite, str(fresh), *mirrors(suite)],
            check=True,
        )  # fmt: skip
        settle(fresh, suite)
        (fresh / stamp.name).write_text(" ".join(packages))
        fresh.rename(root)
    return root


def settle(root: Path, suite: str) -> None:
    """Make a fresh root boot quickly, quietly and the same each time."""
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text(f"{suite}-test\n")
    for unit in MASKED.split():
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (root / "var/log/journal").mkdir(exist_ok=True)
    for name, text in SETTINGS.items():
        file = root / "etc/systemd" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


class Machine:
    """Stand for one container; its disk lives until `destroy`."""

    def __init__(self, name: str, suite: str = "") -> None:
        self.name = name
        self.disk = cache() / "machines" / name
        self.suite = suite
        self._launched: subprocess.Popen[bytes] | None = None

    # its life

    def boot(self) -> str:
        """Boot, and return "running" or "degraded"."""
        if self._nspawn():
            raise RuntimeError(f"{self.name} runs already")
        root = setup(self.suite)
        for part in ("upper", "work", "root"):
            (self.disk / part).mkdir(parents=True, exist_ok=True)
        (self.disk / "pid").unlink(missing_ok=True)
        with (self.disk / "console.log").open("wb") as console:
            self._launched = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "--",
                 "sh", "-c", LAUNCH, "launch", root, self.disk, self.name],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        return str(until(self._state, f"{self.name} is up"))

    def _state(self) -> str | None:
        if self._launched and self._launched.poll() is not None:
            raise RuntimeError((self.disk / "console.log").read_text(errors="replace"))
        if self._leader() is None:
            return None
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state if state in {"running", "degraded"} else None

    def poweroff(self) -> None:
        """Shut down in order."""
        if pid := self._nspawn():
            os.kill(pid, signal.SIGTERM)  # nspawn passes it on as systemd's own signal for it
            self._wait_gone()

    def crash(self) -> None:
        """Pull the plug: every process inside dies at once."""
        if pid := self._nspawn():
            for victim in (self._leader(), pid):
                if victim is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
            self._wait_gone()

    def destroy(self) -> None:
        """Crash it and delete its disk."""
        self.crash()
        shutil.rmtree(self.disk, ignore_errors=True)

    # what one does with it

    def run(
        self, *command: str, check: bool = True, stdin: str | bytes = b"", user: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* inside and capture it; bytes that are no UTF-8 come as surrogates."""
        become = ("runuser", "-u", user, "--") if user else ()
        content = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*self._enter(), *become, *command], input=content, capture_output=True, check=False
        )
        out = done.stdout.decode(errors="surrogateescape")
        err = done.stderr.decode(errors="surrogateescape")
        if check and done.returncode:
            raise AssertionError(f"{command!r} ended with {done.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def sh(
        self, script: str, *arguments: str, check: bool = True, user: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script inside; its *arguments* are $1, $2, ..."""
        return self.run("sh", "-ec", script, "sh", *arguments, check=check, user=user)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Run *command* inside and return at once."""
        return subprocess.Popen(
            [*self._enter(), *command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file inside, as root, with its folders."""
        file = self.inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)

    def push(self, source: Path, target: str) -> None:
        """Copy a file or tree in, owned by root."""
        place = self.inside(target)
        subprocess.run(["cp", "-aT", "--no-preserve=ownership", source, place], check=True)

    def inside(self, path: str) -> Path:
        """Name *path* of the running machine as the host sees it; links are not followed."""
        return Path(f"/proc/{self._leader()}/root{path}")

    def _enter(self) -> list[str]:
        leader = self._leader()
        if leader is None:
            raise RuntimeError(f"{self.name} does not run")
        return ["nsenter", "-t", str(leader), "--all", "--", "env", "-i", *ENVIRONMENT.split()]

    # how the host sees it

    def _nspawn(self) -> int | None:
        try:
            pid = int((self.disk / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        # a zombie has no command line; a recycled number another one
        ours = command.startswith(b"systemd-nspawn\0") and b"--machine=%s\0" % self.name.encode()
        return pid if ours and ours in command else None

    def _leader(self) -> int | None:
        nspawn = self._nspawn()
        if nspawn is None:
            return None
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
                status = Path(f"/proc/{child}/status").read_text()
                if any(ln.startswith("NSpid:") and ln.endswith("\t1") for ln in status.split("\n")):
                    return int(child)
        return None

    def _wait_gone(self) -> None:
        until(lambda: self._nspawn() is None, f"{self.name} is gone")
        if self._launched:  # else it is another process's child
            self._launched.wait()
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--",
             "sh", "-c", SWEEP, "sweep", f"/sys/fs/cgroup/resumed-{self.name}"],
            check=False,
        )  # fmt: skip


def trial(suite: str) -> str | None:
    """Boot a machine, and return what kept it from that, or None."""
    if reason := obstacle():
        return reason
    machine = Machine(f"trial-{suite}", suite)
    try:
        machine.destroy()
        machine.boot()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"{suite} does not boot: {' '.join(str(error).split())}"
    finally:
        machine.destroy()
    return None


def main(arguments: list[str]) -> int:
    """Follow the command line of the docstring."""
    match arguments:
        case ["try", suite]:
            if reason := trial(suite):
                print(reason)
                return 1
        case ["setup", suite]:
            print(setup(suite))
        case ["boot", name, suite]:
            print(Machine(name, suite).boot())
        case ["run", name, *command]:
            done = Machine(name).run(*command, check=False)
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            return done.returncode
        case ["push", name, source, target]:
            Machine(name).push(Path(source), target)
        case ["poweroff" | "crash" | "destroy" as verb, name]:
            {"poweroff": Machine.poweroff, "crash": Machine.crash, "destroy": Machine.destroy}[
                verb
            ](Machine(name))
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
