"""Let real accounts use the service: members of the group, an outsider, a full disk."""

import re
import time

import pytest
from conftest import CONFIGURATION, MEMBERS, OUTSIDER, SPOOL, STATE, Service
from machine import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

INBOX = f"{SPOOL}/inbox"
# OpenSSH's own server, a process for each connection and no port
SSH = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ProxyCommand='/usr/sbin/sshd -i' -i /srv/key"

WAYS = {
    "cp": "runuser -u {user} -- cp /home/{user}/source {inbox}/{name}",
    "mv": "runuser -u {user} -- mv /home/{user}/source {inbox}/{name}",
    "install": "runuser -u {user} -- install -m 640 /home/{user}/source {inbox}/{name}",
    "rsync": "runuser -u {user} -- rsync -a /home/{user}/source {inbox}/{name}",
    "scp": "scp {ssh} /home/{user}/source {user}@machine:{inbox}/{name}",
    "old scp": "scp -O {ssh} /home/{user}/source {user}@machine:{inbox}/{name}",
    "sftp": "echo 'put /home/{user}/source {inbox}/{name}' | sftp -b - {ssh} {user}@machine",
    "rsync over ssh": 'rsync -a -e "ssh {ssh}" /home/{user}/source {user}@machine:{inbox}/{name}',
}


@pytest.fixture
def people(service: Service) -> Service:
    """Give each person a key for ssh and a file to drop, whatever the umask says."""
    service.sh(
        """
        mkdir -p /run/sshd
        [ -f /srv/key ] || ssh-keygen -q -t ed25519 -N '' -f /srv/key
        for person in alice bob mallory; do
            home=$(getent passwd $person | cut -d: -f6)
            mkdir -p $home/.ssh
            cp /srv/key.pub $home/.ssh/authorized_keys
            echo nothing >$home/source
            chown -R $person: $home
            chmod 700 $home/.ssh
            chmod 644 $home/source
        done
        """
    )
    return service


def send(service: Service, way: str, name: str, user: str, check: bool = True):  # noqa: FBT001, FBT002
    command = WAYS[way].format(user=user, inbox=INBOX, name=name, ssh=SSH)
    return service.sh(command, check=check)


@pytest.mark.parametrize("way", WAYS)
def test_members_drop(people, way):
    people.configure(text=CONFIGURATION.replace("settle = 0", 'settle = "300ms"'))
    people.start()

    for user in MEMBERS:
        send(people, way, f"from-{user}", user)
    people.await_end("from-alice", "from-bob")

    assert people.names("done") == ["from-alice", "from-bob"]
    for user in MEMBERS:
        assert people.run("stat", "-c", "%U", f"{SPOOL}/done/from-{user}").stdout.strip() == user
    begun = [call for call in people.calls() if call[0] == "begin"]
    assert len(begun) == 2


@pytest.mark.parametrize("umask", ["0002", "0022", "0077"])
def test_members_drop_a_folder_into_a_recursive_inbox(people, umask):
    people.configure("recursive = true")
    people.start()

    for user in MEMBERS:
        script = f"umask {umask}; mkdir -p {INBOX}/{user}/deep; echo nothing >{INBOX}/{user}/deep/a"
        people.sh(script, user=user)
    until(lambda: people.names("done") == ["a", "a"], "both are done")

    for user in MEMBERS:
        assert people.machine.inside(f"{SPOOL}/done/{user}/deep/a").exists()
    assert not people.names("inbox")
    refused = people.sh(f"echo mine >{INBOX}/alice/deep/b", user="bob", check=False)
    assert refused.returncode != 0


@pytest.mark.parametrize(
    "deed",
    [
        "rm -f {file}",
        "mv {file} {file}.mine",
        "echo mine >{file}",
        "echo mine >>{file}",
        "cp -f /home/bob/source {file}",
        "mv -f /home/bob/source {file}",
        "ln -sf /home/bob/source {file}",
        "truncate -s 0 {file}",
        "chmod 777 {file}",
    ],
)
def test_no_member_touches_the_drop_of_another(people, deed):
    file = f"{INBOX}/hers"
    people.sh("chmod 755 /home/bob")
    people.drop("hers", "nothing of his\n", user="alice")

    done = people.sh(deed.format(file=file), user="bob", check=False)

    assert done.returncode != 0
    assert people.run("cat", file).stdout == "nothing of his\n"
    assert people.run("stat", "-c", "%U", file).stdout.strip() == "alice"


def test_nobody_holds_a_lock_of_ours(people):
    people.start()
    people.drop("a", "sleep 2\n")
    people.await_begun("a")
    locks = people.sh(f"find {STATE} {SPOOL} -name '*lock*'").stdout.split()
    assert len(locks) >= 2

    for lock in [*locks, f"{SPOOL}/active", f"{STATE}/journal.jsonl"]:
        for user in (*MEMBERS, OUTSIDER):
            script = f"flock --nonblock --exclusive {lock} true"
            if "journal" in lock:
                script = f"exec 9>>{lock} && flock --nonblock 9"
            assert people.sh(script, user=user, check=False).returncode != 0, (lock, user)

    people.await_end("a")


def test_an_unreadable_file_is_a_clean_failure(people):
    people.start()
    people.sh(f"cd; chmod 600 source; cp source {INBOX}/secret", user="alice")

    said = people.ctl("why", f"{INBOX}/secret", user="alice")
    assert "unreadable: " in said
    assert "let user resumed read it" in said

    people.await_end("secret", seconds=100)

    assert people.names("failed") == ["secret"]
    note = people.machine.inside(f"{SPOOL}/failed/secret.failure.txt")
    until(note.exists, "the note is there")
    sidecar = note.read_text()
    assert re.search("read", sidecar)
    assert re.search("chmod|permission|resumed-ctl", sidecar)
    assert people.active()


def test_an_outsider_can_neither_drop_nor_read(people):
    people.start()
    people.drop("a")
    people.await_end("a")

    for deed in (
        f"cp ~/source {INBOX}/b",
        f"ls {INBOX}",
        f"ls {SPOOL}",
        f"cat {SPOOL}/done/a",
        f"cat {STATE}/journal.jsonl",
        f"ls {STATE}",
        f"echo >{STATE}/requests/x",
    ):
        assert people.sh(deed, user=OUTSIDER, check=False).returncode != 0, deed
    for way in ("scp", "sftp"):
        assert send(people, way, "b", OUTSIDER, check=False).returncode != 0


def test_a_member_sees_everything_and_retries_only_what_is_theirs(people):
    people.start()
    people.drop("hers", "fail\n", user="alice")
    people.drop("his", "fail\n", user="bob")
    people.await_end("hers", "his")
    until(lambda: len(people.records("failed")) == 2, "both are recorded")

    assert "hers" in people.ctl("failures", user="bob")
    people.ctl("status", user="bob")
    assert "hers" in people.ctl("show", "hers", user="bob")

    people.ctl("retry", "hers", user="alice")
    attempts = lambda: [c[2] for c in people.calls() if c[0] == "begin" and c[3] == "'hers'"]  # noqa: E731
    until(lambda: len(attempts()) == 2, "hers is tried again")
    people.await_end("hers", "his")

    refused = people.run("resumed-ctl", "retry", "hers", user="bob", check=False)
    assert refused.returncode not in (0, 70)
    assert "Traceback" not in refused.stderr
    assert "hers" in refused.stdout + refused.stderr
    time.sleep(1)
    assert len(attempts()) == 2


@pytest.mark.parametrize("command", ["status", "failures", "retry a", "pause", "ls", "reload"])
def test_an_outsider_is_refused_clearly(people, command):
    people.start()

    refused = people.run("resumed-ctl", *command.split(), user=OUTSIDER, check=False)

    assert refused.returncode not in (0, 70)
    assert "Traceback" not in refused.stderr
    assert re.search("group|permission", refused.stderr, re.IGNORECASE)
    assert len(refused.stderr.splitlines()) <= 3


def test_only_what_is_done_goes_with_age(people):
    shipped = "/usr/lib/tmpfiles.d/resumed.conf"
    people.sh(f"sed 's/ 90d / 1s /' {shipped} >/etc/tmpfiles.d/resumed.conf")
    people.start()
    people.drop("fine", "environment\n")
    people.drop("failing", "fail\n")
    people.await_end("fine", "failing")
    people.stop()
    people.drop("to do")

    def clean():
        people.run("systemd-tmpfiles", "--clean", "resumed.conf")
        return not people.names("done") and not people.names("out")

    until(clean, "what is a second old is gone")
    people.sh("rm /etc/tmpfiles.d/resumed.conf")
    assert people.names("failed") == ["failing"]
    assert people.machine.inside(f"{SPOOL}/failed/failing.failure.txt").exists()
    assert people.names("inbox") == ["to do"]
    assert people.machine.inside(f"{STATE}/journal.jsonl").exists()


# A full disk


@pytest.fixture
def small_disks(service: Service):
    """Put the spool and the state on small disks of their own."""
    service.configure('reserve = "4M"')
    service.sh(
        """
        for folder in /var/spool/resumed /var/lib/resumed; do
            mount -t tmpfs -o size=16M,mode=750,gid=resumed tmpfs $folder
        done
        systemd-tmpfiles --create resumed.conf
        """
    )
    service.drop_in("[Service]\nRestartSec=300ms")
    yield service
    service.sh("systemctl stop resumed; umount -l /var/spool/resumed /var/lib/resumed")


@pytest.mark.parametrize("folder", [SPOOL, STATE])
def test_a_full_disk_pauses_visibly_and_goes_on_by_itself(small_disks, folder):
    service = small_disks
    service.start()
    service.drop("before")
    service.await_end("before")

    service.sh("head -c 13M /dev/zero >$0/ballast || true".replace("$0", folder))
    time.sleep(6)  # the disk is looked at every few seconds
    service.drop("during")
    until(lambda: "paused" in service.show("StatusText").lower(), "STATUS= says so", 90)
    assert "paused" in service.ctl("status").lower()
    assert service.entries("RESUMED_EVENT=intake_paused")
    assert service.names("inbox") == ["during"]

    service.sh(f"rm {folder}/ballast")
    service.await_end("during", seconds=90)
    assert service.names("done") == ["before", "during"]
    assert service.active()


@pytest.mark.parametrize("folder", [SPOOL, STATE])
def test_a_disk_without_a_byte_left_is_no_dead_service(small_disks, folder):
    service = small_disks
    service.start()
    service.drop("first", "sleep 1\n")
    service.await_begun("first")

    service.sh(f"cat /dev/zero >{folder}/ballast || true")
    if folder == STATE:
        service.drop("second")
    time.sleep(6)
    service.run("systemctl", "restart", "resumed", check=False)
    time.sleep(3)
    assert service.show("ActiveState") in {"active", "activating"}, service.log()

    service.sh(f"rm {folder}/ballast")
    service.drop("third")
    service.await_end("first", "third", seconds=90)
    until(service.active, "the service is up")
