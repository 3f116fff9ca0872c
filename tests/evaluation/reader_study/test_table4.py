import csv
import io
import json
from dataclasses import asdict

import pytest

from argus_evaluation.reader_study.answers import ANSWERS_FILE, Answer, AnswerFile
from argus_evaluation.reader_study.study import Case, Study, keep_study
from argus_evaluation.reader_study.table4 import build_table4, read_paper
from argus_evaluation.reader_study.table4_text import table4_csv, table4_markdown, write_table4

A, B = "Argus hr", "M3D nr"


@pytest.fixture
def study(tmp_path):
    """Two subsets of two cases; two readers, one of whom has not finished and changed one mind."""
    cases = [Case(subset, scan, {A: "a", B: "b"}) for subset in ("ct-rate", "inspect") for scan in ("s1", "s2")]
    folder = tmp_path / "study"
    keep_study(Study("test", 0, tuple(cases)), folder)
    file = AnswerFile(folder / ANSWERS_FILE)
    for reader, subset, scan, system, score in [
        ("ab", "ct-rate", "s1", A, 1),  # changed to 4 below
        ("ab", "ct-rate", "s1", A, 4),
        ("ab", "ct-rate", "s2", A, 5),
        ("cd", "ct-rate", "s1", A, 4),
        ("cd", "ct-rate", "s2", A, 3),
        ("ab", "ct-rate", "s1", B, 2),
        ("cd", "ct-rate", "s1", B, 2),
        ("ab", "inspect", "s1", A, 5),
    ]:
        file.add(Answer(reader, subset, scan, system, score))
    file.close()
    return folder


def test_means_deviations_and_counts_are_those_of_the_last_scores(study):
    rows = {(row.system, row.subset): row for row in build_table4(study).scores}
    first = rows[A, "ct-rate"]
    assert (first.mean, first.n, first.expected) == (4.0, 4, 4)
    assert first.sd == pytest.approx((2 / 3) ** 0.5)  # 4, 5, 4, 3
    assert (rows[B, "ct-rate"].mean, rows[B, "ct-rate"].sd, rows[B, "ct-rate"].n) == (2.0, 0.0, 2)
    assert (rows[A, "inspect"].mean, rows[A, "inspect"].sd) == (5.0, None)
    assert rows[A, "all"].mean == pytest.approx(21 / 5)
    assert (rows[B, "inspect"].mean, rows[B, "inspect"].n, rows[B, "inspect"].expected) == (None, 0, 4)


def test_agreement_is_over_what_both_read_and_missing_has_a_reason(study):
    agreement = {row.subset: row for row in build_table4(study).agreement}
    assert agreement["ct-rate"].units == 3
    # Units (4,4), (5,3), (2,2); totals 2:2, 3:1, 4:2, 5:1. Difference of 3 and 5: (4 - 1)^2 = 9; of 2 and 3: 1.5^2,
    # 2 and 4: 3^2, 2 and 5: 4.5^2, 3 and 4: 1.5^2, 4 and 5: 1.5^2.
    expected = 2 * (2 * 2.25 + 4 * 9 + 2 * 20.25 + 2 * 2.25 + 9 + 2 * 2.25) / 5
    assert agreement["ct-rate"].alpha == pytest.approx(1 - 18 / expected)
    assert agreement["inspect"].alpha is None
    assert agreement["inspect"].missing == "no report was scored by two readers"


def test_the_three_forms_say_the_same(study, tmp_path):
    table = write_table4(study, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "table4.json").read_text()) == json.loads(json.dumps(asdict(table)))
    markdown = (tmp_path / "out" / "table4.md").read_text()
    assert "| Argus hr | 4.00 ± 0.82 (n=4) | not in the study | 5.00 (n=1) | 4.20 ± 0.84 (n=5) |" in markdown
    assert "| M3D nr | 2.00 ± 0.00 (n=2) | not in the study | missing | 2.00 ± 0.00 (n=2) |" in markdown
    assert "2 readers" in markdown and "7 of 16 scores" in markdown
    rows = list(csv.DictReader(io.StringIO(table4_csv(table))))
    assert len(rows) == 6
    assert (rows[0]["system"], rows[0]["mean"], rows[0]["n"]) == ("Argus hr", "4.0", "4")
    assert [row["mean"] for row in rows if row["system"] == B and row["subset"] == "inspect"] == [""]
    printed = {(row["system"], row["subset"]): (row["paper_mean"], row["paper_sd"]) for row in rows}
    assert printed[B, "ct-rate"] == ("3.3", "1.1")
    # The paper's study was at normal resolution, and gives no score of all subsets.
    assert printed[A, "ct-rate"] == printed[B, "all"] == ("", "")


def test_the_table_has_the_papers_form_with_its_rows_beside_ours(study):
    lines = table4_markdown(build_table4(study)).splitlines()
    assert lines[0] == "| Model | CT-RATE | BIMCV | INSPECT | all |"
    assert [line.split(" | ")[0].strip("|* ") for line in lines[2:9]] == [
        "paper: CT2Rep-7B", "paper: RadFM-7B", B, "paper: M3D-7B", "difference", "paper: Argus-7B", A
    ]  # fmt: skip
    assert lines[5:7] == [
        "| *paper: M3D-7B* | 3.3 ± 1.1 | 3.1 ± 0.9 | 2.8 ± 1.2 |  |",
        "| *difference* | -1.3 |  |  |  |",
    ]
    assert lines[7] == "| *paper: Argus-7B* | 4.1 ± 0.7 | 3.7 ± 0.8 | 3.4 ± 1.0 |  |"
    assert lines[-1].startswith("The paper's rows: Liu et al.") and "100 reports of each subset" in lines[-1]


@pytest.mark.parametrize("system", ["M3D-8B nr", "M3D nr"])
def test_the_papers_7b_stands_beside_our_8b_or_a_system_without_size(tmp_path, system):
    cases = (Case("ct-rate", "s1", {"M3D-3B nr": "a", system: "b"}),)
    keep_study(Study("test", 0, cases), tmp_path)
    file = AnswerFile(tmp_path / ANSWERS_FILE)
    file.add(Answer("ab", "ct-rate", "s1", system, 5))
    file.close()
    table = build_table4(tmp_path)
    lines = table4_markdown(table).splitlines()
    place = lines.index(f"| {system} | 5.00 (n=1) | not in the study | not in the study |")
    assert lines[place + 1].startswith("| *paper: M3D-7B* |") and lines[place + 2].startswith("| *difference* | +1.7 |")
    rows = list(csv.DictReader(io.StringIO(table4_csv(table))))
    assert {row["system"]: row["paper_mean"] for row in rows} == {"M3D-3B nr": "", system: "3.3"}


def test_the_papers_scores_are_those_printed():
    means = [[score.mean for score in model.scores.values()] for model in read_paper().models]
    assert means == [[2.9, 2.7, 2.6], [3.2, 3.0, 2.8], [3.3, 3.1, 2.8], [4.1, 3.7, 3.4]]
    deviations = [[score.sd for score in model.scores.values()] for model in read_paper().models]
    assert deviations == [[1.3, 1.4, 1.1], [0.9, 1.3, 1.3], [1.1, 0.9, 1.2], [0.7, 0.8, 1.0]]
    assert [*read_paper().subsets.values()] == ["CT-RATE", "BIMCV", "INSPECT"]


def test_a_study_without_answers_gives_a_table_of_missing_scores(tmp_path):
    keep_study(Study("test", 0, (Case("phantom", "s1", {A: "a"}),)), tmp_path)
    text = table4_markdown(build_table4(tmp_path))
    assert "| Argus hr | missing |" in text and "0 of 0" in text
    assert "paper" not in text and "CT-RATE" not in text  # the study has none of its subsets


def test_answers_of_another_study_are_refused(study):
    file = AnswerFile(study / ANSWERS_FILE)
    file.add(Answer("ab", "ct-rate", "s9", A, 3))
    file.close()
    with pytest.raises(ValueError, match="s9, not in study.json"):
        build_table4(study)
    with pytest.raises(FileNotFoundError, match="argus reader-study"):
        build_table4(study.parent)


def test_a_damaged_study_is_one_line_with_its_file(study, argus, tmp_path):
    path = study / "study.json"
    for content, reason in (("{", "is damaged"), ("{}", "is no reader study")):
        path.write_text(content)
        code, stdout, stderr = argus("table4", study, tmp_path / "out")
        assert (code, stdout, len(stderr.splitlines())) == (2, "", 1) and f"study.json: {reason}" in stderr
