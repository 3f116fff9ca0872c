"""Reports from files of every kind and from phantoms, and what is told of a file that cannot be used."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from argus_evaluation.metrics.labels import read_labels
from argus_evaluation.metrics.report_findings import extract_findings
from argus_evaluation.stress.report_facts import read_facts
from argus_evaluation.stress.sentences import read_sentences
from argus_evaluation.stress.stress_references import detailed_report, phantom_references, read_references
from argus_processing.phantom.scans import report_of

REPORTS = ('A nodule, in the "left" lung.', "No nodule.\nThe heart is enlarged.")


def write(folder, suffix, column="report"):
    path = folder / f"reports{suffix}"
    rows = [{"id": str(number), column: text} for number, text in enumerate(REPORTS)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "\t" if suffix == ".tsv" else ","
        quoted = [[row["id"], '"' + row[column].replace('"', '""') + '"'] for row in rows]
        path.write_text("\n".join(mark.join(cells) for cells in [["id", column], *quoted]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_reports(tmp_path, suffix):
    found = read_references(write(tmp_path, suffix))
    assert found.reports == REPORTS
    assert found.source == f"reports{suffix}" and len(found.sha256) == 64


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_of_another_name_is_given_or_named_in_the_error(tmp_path, suffix):
    path = write(tmp_path, suffix, "befund")
    assert read_references(path, ["befund"]).reports == REPORTS
    with pytest.raises(ValueError, match="no column .*report_text.*; it has id, befund; name one by --column"):
        read_references(path)
    with pytest.raises(ValueError, match="no column text; it has id, befund"):
        read_references(path, ["text"])


def test_findings_and_impression_are_joined(tmp_path):
    path = tmp_path / "reports.csv"
    path.write_text("VolumeName,Findings_EN,Impressions_EN\na,One.,Two.\nb,Three.,\nc,Three.,\nd,,\n")
    found = read_references(path)
    assert found.reports == ("One.\nTwo.", "Three.") and found.left_out == 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("reports.csv", b"report\nOne.\n", "holds 1 different reports"),
        ("reports.csv", b"id,report\n1,One.\n2\n", "line 3 is no row of 2 fields"),
        ("reports.jsonl", b'{"report": 3}\n{"report": "x"}\n', "is no text"),
        ("reports.jsonl", b"[1]\n", "line 1 is no object"),
        ("reports.parquet", b"PAR1", "cannot be read as Parquet"),
        ("reports.xlsx", b"", "is not one of .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_cause(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        read_references(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_details_of_phantoms_add_sizes_and_grades_and_leave_the_rest():
    with_grade = with_size = 0
    for seed in range(200):
        before, after = report_of(seed), detailed_report(seed)
        assert read_labels(after) == read_labels(before)
        assert extract_findings(after) == extract_findings(before)
        first, second = read_facts(before), read_facts(after)
        assert (first.sides, first.lobes, first.organs) == (second.sides, second.lobes, second.organs)
        with_grade += bool(second.grades)
        with_size += bool(second.sizes_mm)
    assert with_grade > 100 and with_size > 100


def test_a_finding_has_one_grade_and_one_size_throughout_a_report():
    details: dict[tuple[int, str, str], set] = {}
    for seed in range(100):
        for sentence in read_sentences(detailed_report(seed)):
            facts = read_facts(sentence.text)
            for label in sentence.stated if len(sentence.stated) == 1 else ():
                for kind, found in (("grade", facts.grades), ("size", facts.sizes_mm)):
                    details.setdefault((seed, label, kind), set()).update(found)
    assert sum(map(len, details.values())) > 200 and all(len(found) <= 1 for found in details.values())


def test_phantom_references_are_distinct_and_those_of_their_seed():
    found = phantom_references(50, seed=7)
    assert len(set(found.reports)) == len(found.reports) == 50 - found.left_out
    assert found.reports[0] == detailed_report(7)
    with pytest.raises(ValueError, match="at least 2 phantoms, got 1"):
        phantom_references(1)
