import codecs
from pathlib import Path

import pytest

from argus_processing.sources.table_files import decode
from argus_processing.sources.tables import find_tables, find_volumes, read_rows, stem_of

COLUMNS = {"id": "VolumeName", "report": "Report_en"}
REPORT = 'Effusion, small; "left"\nsecond line: 5 °C, übrige ñ'


def table_of(delimiter: str, ends: str) -> str:
    quoted = REPORT.replace('"', '""').replace("\n", ends)
    return ends.join((f"VolumeName{delimiter}Report_en", f'a_1{delimiter}"{quoted}"', f"a_2{delimiter}Clear."))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_any_encoding_delimiter_and_line_end_gives_the_same_rows(tmp_path, encoding, delimiter, ends):
    path = tmp_path / "table.csv"
    path.write_bytes(table_of(delimiter, ends).encode(encoding))
    problems = []
    rows = read_rows(path, COLUMNS, {}, problems)
    assert not problems
    assert [row["id"] for row in rows] == ["a_1", "a_2"]
    assert rows[0]["report"].replace("\r\n", "\n").replace("\r", "\n") == REPORT


def test_a_spreadsheets_habits_are_read(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"sep=;\r\n volumename ; Report_en ;;\r\na_1;Clear.;;\r\n;;;\r\na_2;Normal.\r\n")
    problems = []
    rows = read_rows(path, COLUMNS, {}, problems)
    assert [(row["id"], row["report"]) for row in rows] == [("a_1", "Clear.")]
    assert [problem.detail for problem in problems] == ["2 fields where the header has 4"]


def test_damaged_bytes_lose_their_row_only_and_are_not_taken_for_letters(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("VolumeName,Report_en\na_1,übrig\na_2,x".encode() + b"\xe9y\n" + b"a_3,\x00\na_4,Clear.\n")
    problems = []
    rows = read_rows(path, COLUMNS, {}, problems)
    assert [row["id"] for row in rows] == ["a_1", "a_4"]
    assert [problem.where for problem in problems] == ["table.csv, line 3", "table.csv, line 4"]
    assert "\ufffd" in decode(b"plain \xff\xfe\xfd text")
    assert decode(codecs.BOM_UTF16_BE + "é".encode("utf-16-be")) == "é"


def test_tables_are_found_by_pattern_in_any_case_nearest_and_latest_first(tmp_path):
    for name in ("full/Impressions_20250418.TSV", "full/impressions_20250611.tsv", "impressions.csv", "a/b/c/deep.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_tables(tmp_path, "impressions*.tsv", "impressions*.csv")
    assert [path.name for path in found] == [
        "impressions_20250611.tsv",
        "Impressions_20250418.TSV",
        "impressions.csv",
    ]
    assert not find_tables(tmp_path, "deep.tsv")


def test_volumes_are_found_through_links_once_and_without_end(tmp_path):
    real = tmp_path / "elsewhere"
    (real / "deep").mkdir(parents=True)
    (real / "deep" / "a.nii.gz").touch()
    (real / "B.NII").touch()
    (real / "notes.txt").touch()
    root = tmp_path / "root"
    (root / "c.nii.gz").mkdir(parents=True)  # as some programs unpack "c.nii.gz"
    (root / "c.nii.gz" / "c.nii").touch()
    (root / "part").symlink_to(real)
    (root / "d.nii.gz").symlink_to(real / "deep" / "a.nii.gz")
    (real / "loop").symlink_to(root)
    assert list(find_volumes(root)) == ["c.nii.gz/c.nii", "d.nii.gz", "part/B.NII", "part/deep/a.nii.gz"]
    assert list(find_volumes(root, "nowhere")) == []


@pytest.mark.parametrize(
    "path",
    ["a_1.nii.gz", "x/y/a_1.nii", "C:\\data\\a_1.NII.GZ", " a_1.nii.gz ", "a_1", Path("x/a_1.nii.gz").as_posix()],
)
def test_a_volumes_name_is_the_same_whatever_wrote_its_path(path):
    assert stem_of(path) == "a_1"
