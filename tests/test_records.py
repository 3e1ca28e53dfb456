import io
import json

import pytest

from resumed import records, tables
from resumed.records import LIMIT_BYTES, Bad, Part, UnusableError, key, mark_of, unkey


def read(content, name="a.jsonl", id_field=None):
    lines = tables.reader(lambda: io.BytesIO(content), name, id_field)
    return [each for each in lines if each is not None]


def parts(*arguments, **keywords):
    return [each for each in read(*arguments, **keywords) if isinstance(each, Part)]


def faults(*arguments, **keywords):
    found = read(*arguments, **keywords)
    return {each.line: each.fault for each in found if isinstance(each, Bad)}


def known(part):
    return part.mark, part.content


def test_lines_are_parts_and_blank_lines_are_none():
    content = b'\xef\xbb\xbf{"a":1}\r\n\n   \n{"a":2}\n {"a":3} \n{"a":4}'

    found = [(each.line, each.value["a"]) for each in parts(content)]
    assert found == [(1, 1), (4, 2), (5, 3), (6, 4)]


def test_a_part_is_known_by_what_it_says_not_by_how_or_where():
    first, second, third = parts(b'{"a":1,"b":2}\n{ "b":2, "a":1 }\n{"a":1,"b":3}\n')

    assert (known(first), first.id) == (known(second), second.id)
    assert known(first) != known(third)
    assert mark_of(first.id, None) == first.mark


def test_a_part_with_an_id_is_known_by_it_and_its_content_tells_changes():
    first, changed, other = parts(
        b'{"id":7,"n":1}\n{"id":"7","n":2}\n{"id":"8","n":1}\n', id_field="id"
    )

    assert first.id == changed.id == "7"
    assert first.mark == changed.mark == mark_of("7", "id") != other.mark
    assert first.content != changed.content


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"[1]", "not a JSON object"),
        (b'{"id":', "not JSON"),
        (b'{"id":"a","n":NaN}', "not JSON"),
        (b'{"id":"a"} {"id":"b"}', "not JSON"),
        (b'{"id":"a","n":1e999}', "not JSON"),
        (b'{"id":"a","n":%s}' % (b"9" * 5000), "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"id":"\xff"}', "not UTF-8, at its byte 8"),
        (b'{"n":1}', "no usable id"),
        (b'{"id":true}', "no usable id"),
        (b'{"id":""}', "no usable id"),
        (b'{"id":1.5}', "no usable id"),
        (b'{"id":"%s"}' % (b"x" * LIMIT_BYTES), "more than 1048576"),
    ],
)
def test_a_bad_line_is_told_and_the_next_one_is_read(line, why):
    content = b'{"id":"before"}\n' + line + b'\n{"id":"after"}\n'

    assert why in faults(content, id_field="id")[2]
    assert [each.id for each in parts(content, id_field="id")] == ["before", "after"]


def test_a_record_is_found_again_where_it_was():
    content = b'\xef\xbb\xbf{"id":"a","n":1}\n{"id":"b","n":[1]}\n'
    lines = tables.reader(lambda: io.BytesIO(content), "a.jsonl", "id")
    found = [each for each in lines if isinstance(each, Part)]

    for each in found:
        again = lines.at(each.offset)
        assert again._replace(line=each.line) == each
        assert lines.at(each.offset, known(each)) == again


def test_the_first_line_may_tell_about_the_job():
    lines = tables.reader(
        lambda: io.BytesIO(json.dumps(records.about({"batch": 17})).encode() + b'\n{"a":1}\n'),
        "a.jsonl",
        None,
    )

    assert lines.metadata == {"batch": 17}
    assert [each.value for each in lines if isinstance(each, Part)] == [{"a": 1}]


def test_a_table_gives_each_row_the_names_of_its_header():
    content = b'\xef\xbb\xbfid,note\r\n1,"a, b"\r\n2,"two\r\nlines"\r\n\r\n3,\r\n'

    assert [each.value for each in parts(content, "A.CSV", "id")] == [
        {"id": "1", "note": "a, b"},
        {"id": "2", "note": "two\r\nlines"},
        {"id": "3", "note": ""},
    ]
    assert [each.line for each in parts(content, "a.csv", "id")] == [2, 3, 6]


def test_a_bad_row_is_told_and_the_next_one_is_read():
    content = b'id,n\n1,1\n2\n3,1,1\n4,"x"y\n5,\xff\n6,1\n7,"open\n8,1\n'

    told = faults(content, "a.csv", "id")

    assert [each.id for each in parts(content, "a.csv", "id")] == ["1", "6", "8"]
    assert list(told) == [3, 4, 5, 6, 8]
    assert "1 columns, the header has 2" in told[3]
    assert "UTF-8" in told[6]


def test_rows_are_found_again_while_others_are_read():
    content = b"id,n\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(5000))
    lines = tables.reader(lambda: io.BytesIO(content), "a.csv", "id")

    for each in lines:
        assert isinstance(each, Part)
        assert lines.at(each.offset).value == each.value


@pytest.mark.parametrize("header", [b"id,id\n", b"id,,n\n", b"\xff\n", b'"id\n'])
def test_a_table_whose_header_makes_no_sense_is_refused(header):
    with pytest.raises(UnusableError, match="header"):
        read(header + b"1,2\n", "a.csv", "id")


def test_an_empty_table_has_no_parts():
    assert read(b"", "a.csv") == read(b"id,n\n", "a.csv") == read(b"") == []


def test_keys_are_read_as_they_were_written():
    assert unkey(key(1, (1 << 64) - 1)) == (1, (1 << 64) - 1)
