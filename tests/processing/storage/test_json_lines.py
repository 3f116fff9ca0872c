import os
from dataclasses import dataclass

import pytest

from argus_processing.storage.foreign_files import MAX_JSON_BYTES, ForeignFileError
from argus_processing.storage.json_lines import finished_bytes, json_line, read_finished_lines, read_json_lines


@dataclass(frozen=True)
class Pair:
    name: str
    count: int


def read(path, reader=read_json_lines, **bounds):
    return reader(path, lambda line: Pair(**line), fault="is no pair", advice="count again", **bounds)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs.jsonl"


def test_a_line_is_utf_8_with_its_break_and_comes_back(path):
    text = json_line({"name": "Lungenödem\u2028漢\x85\n", "count": 2})
    assert text == '{"name": "Lungenödem\u2028漢\x85\\n", "count": 2}\n'
    path.write_text(text, encoding="utf-8")
    assert read(path) == [Pair("Lungenödem\u2028漢\x85\n", 2)]


def test_empty_lines_and_windows_breaks_are_passed_over(path):
    path.write_bytes(b'\n{"name": "a", "count": 1}\r\n\r\n{"name": "b", "count": 2}')
    assert read(path) == [Pair("a", 1), Pair("b", 2)]
    path.write_bytes(b"")
    assert read(path) == read(path, read_finished_lines) == []


GOOD = b'{"name": "a", "count": 1}\n'


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"{", "Expecting property name"),
        (b"[1]", "must be a mapping of names to values, is a list"),
        (b'{"name": "b"}', "count"),
        (b'{"name": "b", "count": 1, "x\\ny": 2}', "x"),
        (b'{"name": "\xff", "count": 1}', "can't decode byte 0xff"),
        (b"[" * 50_000 + b"]" * 50_000, "nested too deep"),
        (b'{"name": ' + b"[" * 100 + b"]" * 100 + b', "count": 1}', "nested deeper than 64"),
        (b'{"name": [' + b"1," * 200_000 + b'1], "count": 1}', "more than 200,000 values"),
        (b'{"name": "b", "count": ' + b"9" * 5000 + b"}", "integer"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_the_cause_in_one_line(path, line, cause):
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    for reader in (read_json_lines, read_finished_lines):
        with pytest.raises(ForeignFileError, match="line 3 is no pair") as error:
            read(path, reader)
        said = str(error.value)
        assert said.startswith(f"{path}: ") and said.endswith("; count again") and "\n" not in said and cause in said


def test_a_cut_last_line_is_refused_or_left_out(path):
    path.write_bytes(GOOD + GOOD[:12])
    with pytest.raises(ForeignFileError, match="line 2 is no pair"):
        read(path)
    assert read(path, read_finished_lines) == [Pair("a", 1)]
    assert finished_bytes(path) == len(GOOD)
    # Whole but for its break: it was not confirmed.
    path.write_bytes(GOOD + GOOD[:-1])
    assert len(read(path)) == 2
    assert read(path, read_finished_lines) == [Pair("a", 1)]


@pytest.mark.parametrize(("content", "size"), [(b"", 0), (b"ab", 0), (b"a\n\nb", 3), (b"a\nb\n", 4)])
def test_finished_bytes_end_at_the_last_break(path, content, size):
    path.write_bytes(content)
    assert finished_bytes(path) == size


def test_more_than_a_file_or_a_line_can_need_is_not_read(path):
    path.write_bytes(GOOD * 4)
    with pytest.raises(ForeignFileError, match="has 104 bytes, more than the 100 such a file can need"):
        read(path, max_bytes=100)
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(1 << 30)
    with pytest.raises(ForeignFileError, match=f"line 2 has more than the {MAX_JSON_BYTES:,} bytes"):
        read(path)


def test_a_pipe_is_not_waited_for_and_a_missing_file_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        read(path)
    os.mkfifo(path)
    with pytest.raises(ForeignFileError, match="named pipe"):
        read(path)
