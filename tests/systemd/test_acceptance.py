"""What goes wrong with services elsewhere, tried on the package that was just built.

Each test has the name of its pitfall; the machine is real, down to the power switch.
"""

import random
import re
import time

import pytest
from conftest import CONFIGURATION, SPOOL, STATE, Service
from machine import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

# Python runs this before anything else when PYTHONPATH names its folder.
PLANTED = """
import os
import signal
import time


def hang(*_):
    time.sleep(3600)


def last_words(*_):
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)


signal.signal(signal.SIGUSR1, hang)
signal.signal(signal.SIGUSR2, last_words)
"""
NAMES = (
    "café.txt",
    "日本語のファイル.txt",
    "a\nSTOPPING=1",
    "b\nWATCHDOG=trigger\nMAINPID=1",
    "\x1b[31mred\x1b[0m",
    b"not \xff\xfe utf-8",
    "%s %n {name}",
    "…" * 80,
)


def plant(service: Service, more: str) -> None:
    """Give the daemon two signals that a test may hurt it with."""
    service.machine.write("/opt/planted/sitecustomize.py", PLANTED)
    service.drop_in(f"[Service]\nEnvironment=PYTHONPATH=/opt/planted\nRestartSec=100ms\n{more}")


def test_file_name_with_non_latin_1_or_newline_in_status(service):
    service.drop_in("[Service]\nWatchdogSec=2s")
    service.start()
    seen = set()

    for name in NAMES:
        service.drop(name, "sleep 0.8\n")
        until(lambda: service.names("active"), "the item runs")
        seen.add(service.show("StatusText"))
    until(lambda: len(service.names("done")) == len(NAMES), "all are done", 60)

    assert service.active()
    assert service.show("NRestarts") == "0"
    assert all(status and status.isprintable() for status in seen), seen
    assert "not UTF-8 clean" not in service.sh("journalctl -b --no-pager").stdout


def test_ping_from_a_thread_hides_a_hang(service):
    plant(service, "WatchdogSec=2s")
    service.start()
    service.drop("a", "sleep 6\n")
    service.await_begun("a")

    service.run("kill", "-USR1", str(service.main_pid))
    service.await_end("a", seconds=60)

    log = service.log()
    assert "Failed with result 'watchdog'" in log
    assert "(most recent call first)" in log
    assert "sitecustomize.py" in log
    assert re.search(r'File "\S*/resumed/\w+\.py", line', log)
    assert service.show("NRestarts") == "1"
    assert service.names("done") == ["a"]
    assert [call[0] for call in service.calls()] == ["begin", "begin", "end"]


def test_ready_before_ready(service):
    for round_ in range(20):
        service.start()
        service.ctl("status")
        service.drop(f"item {round_}")
        service.await_end(f"item {round_}", seconds=10)
        service.stop()

    assert len(service.names("done")) == 20


def test_workers_die_by_sigterm_on_stop(service):
    service.start()
    service.drop("five seconds", "sleep 5\n")
    service.await_begun("five seconds")

    service.stop()

    assert service.names("done") == ["five seconds"]
    assert [call[0] for call in service.calls()] == ["begin", "end"]
    assert service.records("done")
    assert not service.records("waiting")
    assert not service.records("interrupted")


def test_item_longer_than_timeoutstopsec(service):
    service.drop_in("[Service]\nTimeoutStopSec=2s")
    service.start()
    service.drop("carried", "sleep 7\n")
    service.await_begun("carried")
    service.stop()
    assert service.names("done") == ["carried"]

    service.configure(text=CONFIGURATION.replace('"60s"', '"2s"'))
    service.start()
    service.drop("interrupted", "sleep 8\n")
    service.await_begun("interrupted")
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 6
    assert service.names("active") == ["interrupted"]
    assert service.records("interrupted")

    service.start()
    service.await_end("interrupted")
    assert service.names("done") == ["carried", "interrupted"]
    assert not service.records("waiting")


@pytest.mark.timeout(1200)
def test_event_set_in_a_handler_deadlocks(service):
    script = """
        worst=0
        for turn in $(seq 300); do
            systemctl start resumed
            began=$(date +%s%N)
            systemctl stop resumed
            took=$(( ($(date +%s%N) - began) / 1000000 ))
            [ "$took" -le "$worst" ] || worst=$took
            [ "$(systemctl show resumed -p Result --value)" = success ]
        done
        echo "$worst"
    """

    worst_milliseconds = int(service.sh(script).stdout)

    assert worst_milliseconds < 1000


def test_child_talks_to_notify_socket(service):
    service.start()

    service.drop("a", "environment\n")
    service.drop("b", "notify\n")
    service.await_end("a", "b")

    lines = service.machine.inside(f"{SPOOL}/out/a.environment").read_text().splitlines()
    unwanted = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "MAINPID", "MEMORY_PRESSURE")
    assert not [line for line in lines if line.startswith(unwanted)]
    assert service.active()
    assert "a lie" not in service.show("StatusText")


def test_leftover_handler_grandchildren(service):
    service.start()
    service.drop("a", "grandchild\n")
    service.await_end("a")

    service.stop()

    assert service.run("pgrep", "-f", "sleep 4711", check=False).stdout == ""
    assert service.show("ControlGroup") == ""
    assert not service.machine.inside("/sys/fs/cgroup/system.slice/resumed.service").exists()


def test_stop_succeeds_but_was_a_sigkill(service):
    service.configure(text=CONFIGURATION.replace('"60s"', '"2s"'))
    service.drop_in("[Service]\nTimeoutStopSec=20s")
    service.start()
    service.drop("a", "stubborn\n")
    service.await_begun("a")

    service.stop()  # looks at Result=

    assert service.records("interrupted")
    assert service.names("active") == ["a"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('handler = "handler:process"\nworkers = "many"\n', "resumed.toml:2"),
        ('handler = "handler:process"\n[retry]\nmax_atempts = 3\n', "resumed.toml:3"),
        ("handler = \n", "resumed.toml:1"),
        ('handler = "missing:process"\n', "missing"),
    ],
)
def test_restart_loop_on_a_bad_config(service, text, place):
    service.drop_in("[Service]\nRestartSec=100ms")
    service.configure(text=text)

    started = service.run("systemctl", "start", "resumed", check=False)

    assert started.returncode != 0
    until(lambda: service.show("ActiveState") == "failed", "the unit failed")
    assert service.show("ExecMainStatus") == "78"
    assert service.show("NRestarts") == "0"
    assert place in service.log()
    assert "Traceback" not in service.log()


def test_buffered_output(service):
    plant(service, "")
    service.start()

    service.run("kill", "-USR2", str(service.main_pid))
    until(lambda: service.show("NRestarts") == "1" and service.active(), "it is back")

    assert "last words" in service.log()


def test_oneshot_deletes_run_resumed_under_the_daemon(service):
    service.start()
    before = service.main_pid

    service.run("systemctl", "start", "resumed-drain.service")

    said = service.run("journalctl", "-u", "resumed-drain", *service.since).stdout
    assert "another instance" in said
    assert service.run("resumed", "drain", user="resumed", check=False).returncode == 75
    assert service.show("Result", "resumed-drain.service") == "success"
    assert service.main_pid == before
    service.ctl("pause")
    service.ctl("unpause")
    service.drop("a")
    service.await_end("a")


def test_path_unit_dies_at_the_start_limit(service):
    service.run("systemctl", "start", "resumed-drain.path")
    service.sh("mkdir /var/spool/resumed/inbox/folder; mkfifo /var/spool/resumed/inbox/fifo")
    for turn in range(12):
        service.drop(f"failing {turn}", "fail\n")
    # what arrives while the drain runs is only seen with the next arrival, or by the timer
    idle = lambda: service.show("ActiveState", "resumed-drain.service") == "inactive"  # noqa: E731
    until(idle, "the drain ended")
    assert service.active("resumed-drain.path")
    service.drop("later")
    service.await_end("later", *(f"failing {turn}" for turn in range(12)))

    assert service.active("resumed-drain.path")
    assert service.show("Result", "resumed-drain.service") == "success"


@pytest.mark.parametrize(
    "spool",
    ["/tmp/spool", "/home/alice/spool", "/srv/spool", "/srv/missing"],  # noqa: S108 - the point of it
)
def test_sandbox_hides_the_inbox(service, spool):
    if "missing" in spool:
        service.configure(f'paths.spool = "{spool}"')
    else:
        service.sh("chmod 755 /home/alice")
        service.spool_at(spool)

    started = service.run("systemctl", "start", "resumed", check=False)

    assert started.returncode != 0
    assert service.show("ExecMainStatus") == "78"
    assert service.show("NRestarts") == "0"
    said = service.log()
    assert spool in said
    assert re.search("ReadWritePaths|drop-in|BindPaths", said) or "missing" in spool


@pytest.mark.parametrize(
    ("drop_in", "named", "spool"),
    [
        ("inbox-elsewhere", "/srv/inbox", "/srv/open"),
        ("inbox-in-home", "/home/scans/inbox", "/home/open"),
    ],
)
def test_a_drop_in_shows_the_inbox_again(service, drop_in, named, spool):
    text = service.run("cat", f"/usr/share/doc/resumed/drop-ins/{drop_in}.conf").stdout
    service.spool_at(spool)
    service.drop_in(text.replace(named, spool))

    service.start()
    service.sh(f"echo nothing >{spool}/inbox/a")

    until(lambda: service.machine.inside(f"{spool}/done/a").exists(), "it is done")
    service.stop()


def test_identity_lost(service):
    service.start()
    service.drop("hers", user="alice")
    service.drop("his", user="bob")
    service.await_end("hers", "his")

    for name, user in (("hers", "alice"), ("his", "bob")):
        number = int(service.run("id", "-u", user).stdout)
        claims = [record for record in service.records("claimed") if record["name"] == name]
        assert [claim["owner"] for claim in claims] == [number]
        assert service.run("stat", "-c", "%U", f"{SPOOL}/done/{name}").stdout.strip() == user


def test_reload_race(service):
    service.start()
    before = service.main_pid
    service.configure(text=CONFIGURATION.replace("handler:process", "handler:environment"))
    service.run("systemctl", "reload", "resumed")
    service.drop("a")
    service.await_end("a")
    assert service.names("out") == ["a.environment"]

    service.configure(text='handler = "handler:process"\nworkers = "many"\n')
    reloaded = service.run("systemctl", "reload", "resumed", check=False)
    assert reloaded.returncode != 0
    assert "resumed.toml:2" in service.log()
    assert service.active()

    service.drop("b")
    service.await_end("b")
    assert service.names("out") == ["a.environment", "b.environment"]
    assert service.main_pid == before


def test_package_upgrade_mid_item(own, next_package):
    own.configure()
    own.start()
    own.drop("a", "sleep 5\n")
    own.await_begun("a")
    own.machine.push(next_package, "/srv/next.deb")

    own.run("apt-get", "install", "-y", "/srv/next.deb")

    own.await_end("a")
    assert own.names("done") == ["a"]
    assert [call[0] for call in own.calls()] == ["begin", "end"]
    assert own.active()
    assert "+next" in own.run("dpkg-query", "-W", "resumed").stdout
    own.drop("b")
    own.await_end("b")


@pytest.mark.timeout(900)
def test_kill_at_any_point(own):
    own.configure("workers = 2")
    own.start()
    dropped = []
    chance = random.Random(4711)

    for crash in range(20):
        for kind in ("steps", "sleep 0.1", "fail", "nothing", "busy"):
            name = f"{crash}-{kind.split()[0]}"
            own.drop(name, f"{kind}\n")
            dropped.append(name)
        time.sleep(chance.uniform(0, 1.2))
        own.machine.crash()
        own.machine.boot()
        until(own.active, "the service is back")

    own.await_end(*dropped, seconds=120)
    own.stop()
    assert sorted([*own.names("done"), *own.names("failed")]) == sorted(dropped)
    assert not own.names("active")
    assert not own.names("inbox")
    failed = {name for name in dropped if name.endswith(("fail", "busy"))}
    assert set(own.names("failed")) == failed
    assert own.run("sh", "-c", "journalctl --list-boots | wc -l").stdout.strip() != "1"


def test_journald_restarted_or_absent(service):
    service.start()
    before = service.main_pid
    service.run("systemctl", "restart", "systemd-journald")
    service.drop("while it is new")
    service.await_end("while it is new")
    assert service.entries("RESUMED_EVENT=done", "RESUMED_ITEM=while it is new")

    service.sh(
        """
        systemctl stop systemd-journald.socket systemd-journald-dev-log.socket \
            systemd-journald-audit.socket systemd-journald.service || true
        mv /run/systemd/journal/socket /run/systemd/journal/socket-away || true
        """
    )
    try:
        for turn in range(5):
            service.drop(f"while it is away {turn}", "shout\n")
        service.await_end(*(f"while it is away {turn}" for turn in range(5)))
    finally:
        service.sh(
            """
            rm -f /run/systemd/journal/socket-away
            systemctl start systemd-journald.socket systemd-journald-dev-log.socket \
                systemd-journald.service
            """
        )
    service.drop("while it is back")
    service.await_end("while it is back")

    assert service.main_pid == before
    assert service.show("NRestarts") == "0"


def state_of(service: Service) -> tuple[str, str]:
    return service.show("UnitFileState"), service.show("ActiveState")


def test_masked_disabled_removed_purged(own, package, next_package):
    assert state_of(own) == ("enabled", "inactive")  # nothing configured: skipped, not failed
    assert own.show("Result") == "exec-condition"
    own.configure()
    own.start()
    own.drop("kept")
    own.await_end("kept")

    def install(file):
        own.machine.push(file, "/srv/other.deb")
        own.run("apt-get", "install", "-y", "--allow-downgrades", "/srv/other.deb")

    own.run("systemctl", "disable", "--now", "resumed")
    install(next_package)
    assert state_of(own) == ("disabled", "inactive")

    own.run("systemctl", "mask", "resumed")
    install(package)
    assert own.show("UnitFileState") == "masked"
    assert own.run("systemctl", "start", "resumed", check=False).returncode != 0

    own.run("systemctl", "unmask", "resumed")
    own.run("systemctl", "enable", "--now", "resumed")
    own.machine.write("/etc/resumed/second.toml", second())
    own.run("systemctl", "start", "resumed@second", "resumed-drain.timer")
    install(next_package)
    assert own.active()
    assert own.active("resumed@second.service")
    assert own.active("resumed-drain.timer")
    assert CONFIGURATION in own.run("cat", "/etc/resumed/resumed.toml").stdout

    own.run("apt-get", "remove", "-y", "resumed")
    for unit in ("resumed", "resumed@second", "resumed-drain.timer"):
        assert own.run("systemctl", "is-active", unit, check=False).returncode != 0
    assert own.machine.inside("/etc/resumed/resumed.toml").exists()

    own.run("apt-get", "purge", "-y", "resumed")
    assert not own.machine.inside("/etc/resumed/resumed.toml").exists()
    assert own.names("done") == ["kept"]
    assert own.machine.inside(f"{STATE}/journal.jsonl").exists()
    own.run("id", "resumed")
    assert own.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"


def second() -> str:
    paths = '[paths]\nspool = "/var/spool/resumed-second"\nstate = "/var/lib/resumed-second"\n'
    return f"{CONFIGURATION}\n{paths}"


def test_an_instance_has_folders_of_its_own(service):
    service.machine.write("/etc/resumed/second.toml", second())
    service.start()

    service.run("systemctl", "start", "resumed@second")
    service.sh("echo nothing >/var/spool/resumed-second/inbox/a")
    until(service.machine.inside("/var/spool/resumed-second/done/a").exists, "it is done")
    service.run("systemctl", "reload", "resumed@second")

    modes = "stat -c '%a %U %G' {0}/inbox {0}/active {0}/done {1} {1}/requests"
    ours = service.sh(modes.format(SPOOL, STATE)).stdout
    theirs = service.sh(modes.format(f"{SPOOL}-second", f"{STATE}-second")).stdout
    assert theirs == ours
    assert not service.names("done")
    service.run("systemctl", "stop", "resumed@second")
    assert service.show("Result", "resumed@second.service") == "success"


def test_unit_drift(installed):
    units = "resumed.service resumed@x.service resumed-drain.service resumed-drain.timer"
    verified = installed.sh(f"systemd-analyze verify {units} resumed-drain.path 2>&1", check=False)
    assert "resumed" not in verified.stdout
    for unit in units.split()[:3]:
        installed.run("systemd-analyze", "security", "--threshold=16", unit)

    installed.sh(
        """
        mkdir -p /run/systemd/system/resumed.service.d
        cp /usr/share/doc/resumed/drop-ins/hardened.conf /run/systemd/system/resumed.service.d/
        systemctl daemon-reload
        systemd-analyze security --threshold=6 resumed.service
        rm -r /run/systemd/system/resumed.service.d
        systemctl daemon-reload
        """
    )


def test_the_hardened_drop_in_still_lets_a_plain_handler_work(service):
    service.drop_in(service.run("cat", "/usr/share/doc/resumed/drop-ins/hardened.conf").stdout)
    service.start()

    service.drop("a", "steps\n")
    service.drop("b", "grandchild\n")
    service.await_end("a", "b")

    assert service.names("done") == ["a", "b"]


def test_no_handler_receives_the_capability(service):
    service.start()

    service.drop("a", "credentials\n")
    service.await_end("a")

    for file in ("status", "status-of-a-command"):
        status = service.machine.inside(f"{SPOOL}/out/{file}").read_text()
        for kind in ("CapPrm", "CapEff", "CapAmb"):
            assert f"{kind}:\t0000000000000000" in status, status
    daemon = service.run("cat", f"/proc/{service.main_pid}/status").stdout
    assert "CapEff:\t0000000010000000" in daemon
