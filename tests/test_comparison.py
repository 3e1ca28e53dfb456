import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from resumed import comparison, tables
from resumed.jobbook import JobBook
from resumed.records import Part, key
from resumed.splitting import Splitting

ERROR = {"kind": "builtins.ValueError", "text": "no"}
A = "1a2044b0000-0000000001"
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"id": st.integers(0, 6), "n": st.integers(0, 1)}),
        st.fixed_dictionaries({"n": st.integers(0, 2)}),  # has no id, so that it is a bad line
    ),
    max_size=8,
)


def content(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def split(book, written):
    lines = tables.reader(lambda: io.BytesIO(written), "a.jsonl", "id")
    for _ in Splitting(book, lines, lambda _number, _tries: None).slices():
        pass
    counted = book.ledger.split
    return {each: counted[each] for each in ("bad", "new", "changed", "unchanged", "gone")}


def begun(folder, rows, failing=()):
    """Write the journal of a job of these rows, all done but those that fail."""
    book = JobBook(folder, A, lambda: 1.0, "00000000")
    split(book, content(rows))
    seen = set()
    for each in tables.reader(lambda: io.BytesIO(content(rows)), "a.jsonl", "id"):
        if isinstance(each, Part) and each.mark not in seen:
            seen.add(each.mark)
            about = {"part": each.id, "key": key(each.mark, each.content), "attempt": 1}
            if each.id in failing:
                book.record("failed", **about, step=None, error=ERROR, output="")
            else:
                book.record("done", **about, seconds=0.1, result=None)
    book.commit(urgent=True)
    book.close()
    return book.path


def compared(path, rows):
    return comparison.compare(path, lambda: io.BytesIO(content(rows)), "a.jsonl", "id")


def test_each_part_is_told_by_what_became_of_it(tmp_path):
    old = [{"id": "a"}, {"id": "b"}, {"id": "c", "n": 1}, {"id": "d"}, {"no": "id"}]
    path = begun(tmp_path, old, failing=("b",))

    told = compared(path, [{"id": "e"}, {"id": "b"}, {"id": "c", "n": 2}, {"id": "a"}, {"x": 1}])

    assert told.document() == {
        "new": ["e"],
        "changed": ["c"],
        "again": ["b"],
        "unchanged": ["a"],
        "gone": ["d"],
        "bad": ["line 5"],
    }
    assert told.words() == "1 new, 1 changed, 2 unchanged, 1 gone, 1 that cannot be parts; 3 to run"


@settings(deadline=None, max_examples=60)
@given(old=ROWS, new=ROWS)
def test_it_counts_as_the_daemon_does_when_it_reads_the_file(tmp_path_factory, old, new):
    path = begun(tmp_path_factory.mktemp("jobs"), old)

    told = compared(path, new)

    book = JobBook(path.parent, A, lambda: 2.0, "00000000")
    counted = split(book, content(new))
    book.close()
    assert len(told.bad) == counted.pop("bad")
    assert {each: len(getattr(told, each)) for each in counted} == counted
    assert not told.again


def test_comparing_changes_nothing(tmp_path):
    path = begun(tmp_path, [{"id": "a"}])
    before = path.read_bytes()

    compared(path, [{"id": "a"}])

    assert path.read_bytes() == before
