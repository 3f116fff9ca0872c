import json
import os
import unicodedata

import pytest

from argus_evaluation.reader_study.links import ReaderLinks, clean_reader


@pytest.fixture
def path(tmp_path):
    return tmp_path / "readers.json"


NAMES = """
O'Brien
O\u2019Brien
\u0130lker
Zoe\u0301
Dr. M\u00fcller-L\u00fcdenscheidt
Nguy\u1ec5n V\u0103n A
\u674e\u660e
\u0645\u06cc\u200c\u062f\u0627
Jos\u00e9 Mar\u00eda, Jr.
R 2
\u0b95\u0bbe\u0bb0\u0bcd\u0ba4\u0bbf
"""


@pytest.mark.parametrize("name", NAMES.strip().split("\n"))
def test_peoples_names_are_taken_and_composed(name, path):
    kept = clean_reader(f"  {unicodedata.normalize('NFD', name)} ")
    assert kept == unicodedata.normalize("NFC", name) == clean_reader(kept)
    links = ReaderLinks(path, [name])
    assert ReaderLinks(path, [unicodedata.normalize("NFD", name)]).items() == links.items() and len(links.items()) == 1


@pytest.mark.parametrize(
    "name", ["", " ", "a" * 41, "../x", "a\x00b", "<b>", "a/b", "\u202eab", "\ud800", "'-.", "\x1b[31mx", None, 5]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="a reader's name"):
        clean_reader(name)


@pytest.mark.parametrize("other", ["strasse", "Stra\u00dfe", "STRASSE"])
def test_readers_that_capitals_alone_tell_apart_are_never_one(path, other):
    ReaderLinks(path, ["Strasse"])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="could be taken for Strasse"):
        ReaderLinks(path, [other])
    assert path.read_bytes() == before
    assert [name for name, _ in ReaderLinks(path, ["\u0130", "i"]).items()] == ["Strasse", "\u0130", "i"]


def test_secrets_stay_and_are_each_readers_own(path):
    first = dict(ReaderLinks(path, ["ab", "cd"]).items())
    again = ReaderLinks(path, ["ef"])
    assert dict(again.items()).items() >= first.items() and len(set(dict(again.items()).values())) == 3
    assert all(len(secret) >= 32 for secret in first.values())
    assert again.reader_of(first["cd"]) == "cd" and again.reader_of("") is None


def test_a_file_of_secrets_is_its_owners_alone(path):
    before = os.umask(0)
    try:
        ReaderLinks(path, ["ab"])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


SECRET = "s" * 32


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"ab": 1},
        {"ab": ""},
        {"ab": "short"},
        {"ab": "\u0001" * 32},
        {"ab": SECRET, "cd": SECRET},
        {"../x": SECRET},
        {"\x1b[31m": SECRET},
        {"Zoe\u0301": SECRET},
    ],
)
def test_a_damaged_file_is_no_open_door(path, content):
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no list of readers|nobody reads"):
        ReaderLinks(path)


def test_a_readable_file_is_closed_to_others_and_a_pipe_refused(path):
    path.write_text(json.dumps({"ab": SECRET}))
    path.chmod(0o644)
    assert ReaderLinks(path).reader_of(SECRET) == "ab" and path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="no regular file"):
        ReaderLinks(path, ["ab"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anne-Marie", "Anne\u2010Marie"),
        ("Anne-Marie", "Anne\u2011Marie"),
        ("O'Brien", "O\u2019Brien"),
        ("O'Brien", "O\u02bcBrien"),
        ("ab", "ab\u3164"),
        ("ab", "a\ufe0fb"),
        ("\uff21nn", "ann"),
    ],
)
def test_names_that_look_alike_are_never_two(path, one, other):
    for first, second in ((one, other), (other, one)):
        ReaderLinks(path, [first])
        with pytest.raises(ValueError, match="could be taken for"):
            ReaderLinks(path, [second])
        path.unlink()


def test_a_study_without_readers_asks_for_them(path):
    with pytest.raises(ValueError, match="--reader NAME"):
        ReaderLinks(path)
