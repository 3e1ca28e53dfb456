import os
import shlex
from datetime import timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from resumed.model import Failed, Fault
from resumed.sidecar import Advice, belongs_to, is_sidecar, name_for, render
from resumed.text import escape

ID = "019a3c5d7e2-0123456789"
ADVICE = Advice(ctl="resumed-ctl --home /srv/x", inbox="/srv/x/inbox", max_attempts=5)
FAULT = Fault("builtins.ValueError", "not a PDF\nsecond line")
FAILED = Failed(5, "watermark", FAULT, "Traceback\n  boom \x1b[31m\n\n", 1_790_000_000.0)
ZONE = timezone(timedelta(hours=2), "CEST")


def note(failed=FAILED, kept_as="a b.pdf"):
    return render(failed, item_id=ID, kept_as=kept_as, advice=ADVICE, zone=ZONE)


def test_a_note_says_why_when_where_and_what_to_do():
    assert note().decode() == (
        r"""resumed: why this file is in failed/

file      a b.pdf
why       ValueError: not a PDF
          second line
step      watermark
attempt   5 (5 failures are allowed)
when      2026-09-21 16:13:20 CEST (2026-09-21T14:13:20Z)
item      019a3c5d7e2-0123456789

What to do: remove the cause, then

    resumed-ctl --home /srv/x retry 'a b.pdf'

or move the file back into the inbox, which is a retry too:

    /srv/x/inbox

Steps that were recorded are not repeated while the file stays the same.

The last lines of its output:

    Traceback
      boom \x1b[31m
"""
    )


def test_what_is_not_known_is_left_out():
    written = note(Failed(1, None, Fault("timeout", ""), "", 0.0)).decode()

    assert "\nwhy       timeout\n" in written
    assert "step" not in written.splitlines()[4]
    assert "output" not in written


def test_a_job_has_no_attempt_of_its_own_to_tell_of():
    written = note(Failed(0, None, Fault("parts", "1 of 21 parts failed"), "", 0.0)).decode()

    assert "1 of 21 parts failed" in written
    assert "attempt" not in written


def test_a_name_that_cannot_be_pasted_is_replaced_by_the_id():
    assert f" retry {ID}\n".encode() in note(kept_as="--all")

    written = note(kept_as="a\n\x1b]0;x\udcff").decode()

    assert r"file      a\n\x1b]0;x\udcff" in written.splitlines()
    assert f"    resumed-ctl --home /srv/x retry {ID}" in written.splitlines()


def test_the_local_time_is_the_machine_s_by_default():
    assert b"2026-09-21T14:13:20Z" in render(FAILED, item_id=ID, kept_as="a", advice=ADVICE)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(), st.text(), st.text())
def test_nothing_from_outside_can_forge_a_line(name, kind, words, output):
    name = name.replace("\0", "") or "a"
    written = note(Failed(1, "s", Fault(kind, words), output, 0.0), name)

    lines = written.decode().split("\n")
    assert belongs_to(written, ID)
    assert [line for line in lines if line.startswith("item ")] == [f"item      {ID}"]
    assert all(escape(line) == line for line in written.decode().replace("\\", "").split("\n"))
    (command,) = [line for line in lines if line.startswith("    resumed-ctl --home")]
    assert shlex.split(command)[-1] in (name, ID)


def test_a_note_is_known_by_its_first_line_and_its_item():
    assert is_sidecar(note())
    assert is_sidecar(note().replace(b"\n", b"\r\n"))
    assert not is_sidecar(b"")
    assert not is_sidecar(b"\n" + note())
    assert not is_sidecar(note()[:20])
    assert belongs_to(note(), ID)
    assert not belongs_to(note(), ID[:-1])
    assert not belongs_to(b"item      " + ID.encode(), ID)


def test_a_note_is_named_after_its_file():
    assert name_for("a.pdf") == "a.pdf.failure.txt"
    assert name_for("sub/a.pdf") == "sub/a.pdf.failure.txt"


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_the_name_of_a_note_always_fits_and_ends_the_same(name):
    named = name_for(name * 30)

    assert len(os.fsencode(named)) <= 255
    assert named.endswith(".failure.txt")
    assert (name * 30).startswith(named.removesuffix(".failure.txt"))
