import json

import pytest

from resumed import wire
from resumed.wire import Assignment, Frames, NonsenseError

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


@pytest.mark.parametrize("assignment", [LEAST, MOST])
def test_an_assignment_survives_the_journey(assignment):
    (frame,) = Frames().feed(wire.encode(wire.assign(assignment)))

    assert wire.assigned(frame) == assignment


def test_a_frame_is_one_line_of_ascii_whatever_the_name():
    line = wire.encode(wire.assign(MOST))

    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


def test_frames_are_the_same_wherever_the_stream_is_cut():
    stream = wire.encode(wire.assign(LEAST)) + wire.encode({"do": "go"})

    for cut in range(len(stream) + 1):
        frames = Frames()
        assert [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])] == [
            wire.assign(LEAST),
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
