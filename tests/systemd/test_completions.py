"""Press Tab in the real shells, with the completions that the package installs."""

import pytest
from conftest import Service
from machine import until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(120)]

# Types into a shell on a terminal: a line that prepares it, then words and a Tab; prints all
# that appears until what is wanted does, or for 20 s.
TYPIST = r"""
import os, pty, select, sys, time

prepare, typed, wanted, *shell = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PS1="> ", HOME="/srv")
    os.execvp(shell[0], shell)


def read_until(text, seen=b"", limit=20):
    end = time.monotonic() + limit
    while text.encode() not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)
    return seen


os.write(terminal, f"{prepare}; echo re''ady\n".encode())
read_until("ready\r\n")
os.write(terminal, f"{typed}\t".encode())
print(read_until(wanted).decode(errors="replace"))
os.kill(pid, 9)
"""
INTERACTIVE = {
    "bash": (
        "for each in /usr/share/bash-completion/completions/resumed*; do . $each; done",
        ("bash", "--norc", "--noprofile", "-i"),
    ),
    "zsh": ("autoload -Uz compinit && compinit -u -D", ("zsh", "-f", "-i")),
}


@pytest.fixture
def with_an_item(service: Service) -> Service:
    service.machine.write("/srv/typist.py", TYPIST)
    service.start()
    service.drop("quarterly.pdf", "fail\n")
    service.await_end("quarterly.pdf")
    until(lambda: service.records("failed"), "its end is recorded")
    return service


@pytest.mark.parametrize("shell", INTERACTIVE)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("resumed che", "resumed check"),
        ("resumed-ctl failu", "resumed-ctl failures"),
        ("resumed-ctl show quart", "resumed-ctl show quarterly.pdf"),
    ],
)
def test_a_tab_completes(with_an_item, shell, typed, wanted):
    prepare, argv = INTERACTIVE[shell]

    seen = with_an_item.run("python3", "/srv/typist.py", prepare, typed, wanted, *argv).stdout

    assert wanted in seen


def test_fish_offers_commands_and_items(with_an_item):
    for typed, wanted in (
        ("resumed che", "check"),
        ("resumed-ctl failu", "failures"),
        ("resumed-ctl show quart", "quarterly.pdf"),
    ):
        offered = with_an_item.run("fish", "-c", f"complete --do-complete '{typed}'").stdout
        assert [line.split("\t")[0] for line in offered.splitlines()] == [wanted]
