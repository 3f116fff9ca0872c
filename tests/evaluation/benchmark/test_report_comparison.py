import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from argus_evaluation.benchmark.report_comparison import (
    INVENTED,
    MATCHED,
    MISSED,
    OTHER_SIDE,
    compare_findings,
    compare_reports,
    comparison_page,
    write_comparison,
)
from argus_evaluation.benchmark.run_list import RunSettings
from argus_evaluation.metrics.phantom_truth import score_findings
from argus_evaluation.metrics.report_findings import locate_findings
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import report_of, truth_of

REFERENCE = "There is a nodule in the right upper lobe. Left pleural effusion. Cardiomegaly. No emphysema."
REPORT = (
    "A nodule is seen in the left upper lobe. There is cardiomegaly. A hiatal hernia is present. No pleural effusion."
)
SETTINGS = RunSettings(model_hash="ab" * 32, subset="phantom", split="test")


def marks(pieces):
    return [(piece.text, piece.status) for piece in pieces if piece.status]


def test_matched_missed_invented_and_another_side_are_told_apart():
    found = compare_reports("s", REFERENCE, REPORT)
    assert found.findings == {
        MATCHED: ("Cardiomegaly",),
        OTHER_SIDE: ("Lung nodule: right upper lobe → left upper lobe",),
        MISSED: ("Pleural effusion: left",),
        INVENTED: ("Hiatal hernia",),
    }
    assert marks(found.reference) == [("nodule", OTHER_SIDE), ("pleural effusion", MISSED), ("Cardiomegaly", MATCHED)]
    assert marks(found.report) == [("nodule", OTHER_SIDE), ("cardiomegaly", MATCHED), ("hiatal hernia", INVENTED)]


def test_the_pieces_are_the_whole_text_unchanged():
    for text in (REFERENCE, REPORT, "", "İİ Nodule\n\nin the RIGHT upper lobe; İ cardiomegaly", "no finding"):
        for pieces in (compare_reports("s", text, REPORT).reference, compare_reports("s", REFERENCE, text).report):
            assert "".join(piece.text for piece in pieces) == text


def test_mentions_point_at_the_words_that_name_them():
    text = "İ NODULE in the right upper lobe. Small left pleural effusion"
    found = [(text[mention.start : mention.end], mention.finding) for mention in locate_findings(text)]
    assert found == [
        ("NODULE", Finding("Lung nodule", "right", "upper lobe")),
        ("pleural effusion", Finding("Pleural effusion", "left")),
    ]


def test_on_phantoms_the_marks_count_what_the_score_counts():
    for seed in range(40):
        told, truth = report_of(1000 + seed), truth_of(seed)
        found = compare_reports("s", report_of(seed), told).findings
        hits = len(found[MATCHED]) + len(found[OTHER_SIDE])
        scores = score_findings([told], [truth])
        reported = hits + len(found[INVENTED])
        assert scores["recall"].value == pytest.approx(hits / len({f.label for f in truth}) if truth else 0)
        assert scores["precision"].value == pytest.approx(hits / reported if reported else 0)


@pytest.mark.parametrize(
    ("true", "told", "status"),
    [
        ("left", "left", MATCHED),
        ("left", "right", OTHER_SIDE),
        ("left", "bilateral", OTHER_SIDE),
        ("left", None, MATCHED),
        (None, "left", MATCHED),
    ],
)
def test_a_side_that_is_not_named_is_not_a_wrong_one(true, told, status):
    assert compare_findings([Finding("Pleural effusion", true)], [Finding("Pleural effusion", told)]) == {
        "Pleural effusion": status
    }


class _Tags(HTMLParser):
    """Open tags that were not closed, and every attribute that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_escaped_and_loads_nothing():
    hostile = "<script>alert(1)</script> & cardiomegaly <img src=x>"
    page = comparison_page([compare_reports("<s&1>", hostile, ""), compare_reports("s2", "", "")], SETTINGS, "<T>")
    tags = _Tags()
    tags.feed(page)
    assert (tags.open, tags.loads) == ([], [])
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;s&amp;1&gt;" in page
    assert not re.search(r"https?:|url\(|@import", page)
    assert '<mark class="missed">cardiomegaly<sup>–</sup></mark>' in page
    assert "no finding in either text" in page
    assert "painted" in page and "13 of" not in page
    other = comparison_page([], replace(SETTINGS, subset="ct-rate"), "T")
    assert "13 of CT-RATE's 18 labels" in other.replace("&#39;", "'") and "not a metric" in other


def test_an_evaluation_becomes_a_page_of_its_first_or_named_scans(make_runs, tmp_path):
    make_runs({("A", "nr", "phantom"): {f"scan{n}": (REPORT, REFERENCE) for n in range(5)}})
    out = tmp_path / "page.html"
    write_comparison(tmp_path / "run0", out, limit=2)
    assert re.findall(r"<h2>(\w+)</h2>", out.read_text()) == ["scan0", "scan1"]
    write_comparison(tmp_path / "run0", out, scan_ids=["scan4"])
    assert re.findall(r"<h2>(\w+)</h2>", out.read_text()) == ["scan4"]
    with pytest.raises(ValueError, match="no report of scan scan9"):
        write_comparison(tmp_path / "run0", out, scan_ids=["scan9"])
