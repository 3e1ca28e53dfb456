import json

import pytest

from resumed import wire
from resumed.wire import Assignment, Common, Frames, NonsenseError, Piece

LEAST = Assignment("1-a", "a.jpg", "/active/1-a/a.jpg", 1, "key", "/active/1-a.work")
MOST = Assignment(
    id="1-a",
    name="bad\udcff\n名.csv",
    path="/active/1-a/bad\udcff\n名.csv",
    attempt=3,
    key="key",
    scratch="/active/1-a.work",
    lock="/active/1-a",
    steps={"search": [1, None]},
    part={"id": 7},
    part_id="7",
    job="1-j",
)


COMMON = Common("1-j", "a.csv", "/active/1-j/a.csv", "/jobs/1-j", "/jobs/1-j/\udcff")
KEYS = ("00000000000000aa-00000000000000bb", "00000000000000cc-00000000000000dd")


def sent(*work):
    return b"".join(map(wire.encode, wire.assign(work)))


def received(stream):
    return [each for frame in Frames().feed(stream) for each in wire.assigned(frame)]


@pytest.mark.parametrize("assignment", [LEAST, MOST])
def test_an_assignment_survives_the_journey(assignment):
    assert received(sent(assignment)) == [assignment]


def test_parts_of_one_job_share_a_frame_and_come_out_whole_and_in_order():
    parts = [
        Piece(f"1-j#{key[:16]}", key, attempt, f"p{attempt}", {"n": "é"}, steps, COMMON)
        for attempt, (key, steps) in enumerate(zip(KEYS, ({"s": None}, {}), strict=True), 1)
    ]
    other = parts[0]._replace(id="2-j#00000000000000aa", common=COMMON._replace(job="2-j"))

    stream = sent(*parts, LEAST, parts[0], other)

    assert stream.count(b"\n") == 4
    first, second, item, again, last = received(stream)
    assert (again, item) == (first, LEAST)
    assert (last.id, last.key, last.job) == (other.id, f"2-j#{KEYS[0]}", "2-j")
    assert second == Assignment(
        id="1-j#00000000000000cc",
        name="a.csv",
        path="/active/1-j/a.csv",
        attempt=2,
        key="1-j#00000000000000cc-00000000000000dd",
        scratch="/jobs/1-j/\udcff/00000000000000cc",
        lock="/jobs/1-j",
        steps={},
        part={"n": "é"},
        part_id="p2",
        job="1-j",
    )
    assert (first.attempt, first.steps, first.part_id) == (1, {"s": None}, "p1")


def test_a_frame_is_one_line_of_ascii_whatever_the_name():
    line = sent(MOST)

    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


def test_frames_are_the_same_wherever_the_stream_is_cut():
    stream = sent(LEAST) + wire.encode({"do": "go"})

    for cut in range(len(stream) + 1):
        frames = Frames()
        assert [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])] == [
            *wire.assign([LEAST]),
            {"do": "go"},
        ]


@pytest.mark.parametrize(
    "piece", [b"hello\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n"]
)
def test_what_is_no_frame_is_refused(piece):
    frames = Frames().feed(b'{"do":"go"}\n' + piece)

    assert next(frames) == {"do": "go"}
    with pytest.raises(NonsenseError):
        next(frames)


def test_a_line_without_end_is_refused():
    frames = Frames()
    assert list(frames.feed(b" " * wire.FRAME_LIMIT_BYTES)) == []

    with pytest.raises(NonsenseError):
        list(frames.feed(b" "))


def test_what_the_daemon_says_may_be_longer():
    """All recorded steps of an item are in one frame."""
    long = {"do": "run", "steps": {"a": "x" * wire.FRAME_LIMIT_BYTES}}
    said = wire.encode(long) + wire.encode({"do": "go"}) + b"{"
    frames = Frames(limit_bytes=None)

    pieces = (said[at : at + wire.READ_BYTES] for at in range(0, len(said), wire.READ_BYTES))
    heard = [frame for piece in pieces for frame in frames.feed(piece)]

    assert heard == [long, {"do": "go"}]
    assert list(frames.feed(b'"do":"go"}\n')) == [{"do": "go"}]


@pytest.mark.parametrize(
    ("value", "after"), [(None, None), ((1, 2), [1, 2]), ({1: "\udcff"}, {"1": "\udcff"})]
)
def test_a_result_is_what_a_resume_would_see(value, after):
    assert wire.plain(value) == after


def test_a_result_may_have_exactly_the_limit():
    assert wire.plain("x" * (wire.RESULT_LIMIT_BYTES - 2))

    with pytest.raises(ValueError, match="more than 262144"):
        wire.plain("x" * (wire.RESULT_LIMIT_BYTES - 1))


def nested():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [{1, 2}, b"x", float("nan"), nested(), pytest.param(10**5000, id="huge"), {(1, 2): 3}],
)
def test_what_is_no_json_is_no_result(value):
    with pytest.raises(ValueError, match="is not JSON"):
        wire.plain(value)


def test_what_json_reads_of_a_result_is_a_result():
    value = json.loads('{"a":[1,2.5,"\\ud800",true,null]}')

    assert wire.plain(value) == value


def test_a_result_that_is_nested_too_deep_is_refused():
    deep = shallow = []
    for _ in range(wire.DEPTH_LIMIT):
        shallow = [shallow]
    for _ in range(wire.DEPTH_LIMIT + 2):
        deep = [deep]

    assert wire.plain(shallow) == shallow
    with pytest.raises(ValueError, match="nested deeper than 100"):
        wire.plain(deep)
