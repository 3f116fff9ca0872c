import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from argus_evaluation.benchmark.report_comparison import (
    PARTLY,
    compare_reports,
    comparison_page,
    read_systems,
    write_comparison,
)
from argus_evaluation.benchmark.run_list import RunSettings
from argus_evaluation.metrics.named_findings import (
    DIFFERENT,
    INVENTED,
    MATCHED,
    MISSED,
    RuleFindings,
    compare_findings,
)
from argus_evaluation.metrics.phantom_truth import score_findings
from argus_evaluation.metrics.report_findings import locate_findings
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import report_of, truth_of

REFERENCE = "There is a nodule in the right upper lobe. Left pleural effusion. Cardiomegaly. No emphysema."
REPORT = (
    "A nodule is seen in the left upper lobe. There is cardiomegaly. A hiatal hernia is present. No pleural effusion."
)
SETTINGS = RunSettings(model_hash="ab" * 32, subset="phantom", split="test")
RULES = RuleFindings()


def marks(pieces):
    return [(piece.text, piece.status) for piece in pieces if piece.status]


def compare_one(reference, report):
    """The truth's pieces and the only report of a comparison."""
    compared = compare_reports("s", reference, {"A": report}, {"A": RULES})
    return compared.reference, *compared.reports


def test_matched_missed_invented_and_another_side_are_told_apart():
    truth, report = compare_one(REFERENCE, REPORT)
    assert report.findings == {
        MATCHED: ("Cardiomegaly",),
        DIFFERENT: ("Lung nodule: right upper lobe → left upper lobe",),
        MISSED: ("Pleural effusion: left",),
        INVENTED: ("Hiatal hernia",),
    }
    assert marks(truth) == [("nodule", DIFFERENT), ("pleural effusion", MISSED), ("Cardiomegaly", MATCHED)]
    assert marks(report.pieces) == [("nodule", DIFFERENT), ("cardiomegaly", MATCHED), ("hiatal hernia", INVENTED)]


def test_several_systems_stand_beside_one_truth():
    reports = {"A": REPORT, "B": "Right upper lobe nodule. Cardiomegaly.", "C": "Nodule on the right. Big heart."}
    found = compare_reports("s", REFERENCE, reports, dict.fromkeys(reports, RULES))
    assert [report.system for report in found.reports] == ["A", "B", "C"]
    assert [marks(report.pieces)[0] for report in found.reports] == [
        ("nodule", DIFFERENT),
        ("nodule", MATCHED),
        ("Nodule", MATCHED),
    ]
    # The effusion is missed by all of them.
    assert marks(found.reference) == [("nodule", PARTLY), ("pleural effusion", MISSED), ("Cardiomegaly", PARTLY)]
    assert "".join(piece.text for piece in found.reference) == REFERENCE


def test_the_pieces_are_the_whole_text_unchanged():
    for text in (REFERENCE, REPORT, "", "İİ Nodule\n\nin the RIGHT upper lobe; İ cardiomegaly", "no finding"):
        for pieces in (compare_one(text, REPORT)[0], compare_one(REFERENCE, text)[1].pieces):
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
        found = compare_one(report_of(seed), told)[1].findings
        hits = len(found[MATCHED]) + len(found[DIFFERENT])
        scores = score_findings([told], [truth])
        reported = hits + len(found[INVENTED])
        assert scores["recall"].value == pytest.approx(hits / len({f.label for f in truth}) if truth else 0)
        assert scores["precision"].value == pytest.approx(hits / reported if reported else 0)


@pytest.mark.parametrize(
    ("true", "told", "status"),
    [
        ("left", "left", MATCHED),
        ("left", "right", DIFFERENT),
        ("left", "bilateral", DIFFERENT),
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
    metrics = {"<A>": RULES}
    compared = [
        compare_reports("<s&1>", hostile, {"<A>": ""}, metrics),
        compare_reports("s2", "", {"<A>": ""}, metrics),
    ]
    page = comparison_page(compared, {"<A>": SETTINGS}, "<T>", RULES.note("phantom"))
    tags = _Tags()
    tags.feed(page)
    assert (tags.open, tags.loads) == ([], [])
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;s&amp;1&gt;" in page
    assert not re.search(r"https?:|url\(|@import", page)
    assert '<mark class="missed">cardiomegaly<sup>–</sup></mark>' in page
    assert "no finding in either text" in page
    assert "painted" in page and "simple rules" not in page
    assert "<h3>&lt;A&gt;</h3>" in page
    other = comparison_page([], {"T": replace(SETTINGS, subset="ct-rate")}, "T", RULES.note("ct-rate"))
    assert "simple rules for CT-RATE's 18 labels" in other.replace("&#39;", "'") and "not a metric" in other


def test_right_has_a_background_and_wrong_is_bold_and_red():
    compared = compare_reports("s", REFERENCE, {"A": REPORT}, {"A": RULES})
    page = comparison_page([compared], {"A": SETTINGS}, "T", RULES.note("phantom"))
    styles = dict(re.findall(r"^  (\.[a-z.,][^{]*) \{ ([^}]*) \}$", page, re.MULTILINE))
    assert "background" in styles[".matched"] and "color" not in styles[".matched"].replace("background", "")
    assert styles[".different, .invented"] == "color: #c4161c; font-weight: 700;"
    # The truth itself is never shown as wrong.
    assert styles[".truth .different"] == "color: inherit; font-weight: inherit;"
    assert '<mark class="matched">cardiomegaly<sup>✓</sup></mark>' in page
    assert '<mark class="invented">hiatal hernia<sup>+</sup></mark>' in page
    assert page.count('<td class="number">') == 3 and re.findall(r'<td class="number">(\d)', page) == ["1", "2", "1"]


def test_an_evaluation_becomes_a_page_of_its_first_or_named_scans(make_runs, tmp_path):
    make_runs({("A", "nr", "phantom"): {f"scan{n}": (REPORT, REFERENCE) for n in range(5)}})
    out = tmp_path / "page.html"
    write_comparison(tmp_path / "run0", out, limit=2)
    assert re.findall(r"<h2>(\w+)</h2>", out.read_text()) == ["scan0", "scan1"]
    write_comparison(tmp_path / "run0", out, scan_ids=["scan4"])
    assert re.findall(r"<h2>(\w+)</h2>", out.read_text()) == ["scan4"]
    with pytest.raises(ValueError, match="no report of scan scan9"):
        write_comparison(tmp_path / "run0", out, scan_ids=["scan9"])


def test_the_systems_of_a_runs_file_stand_on_one_page(make_runs, tmp_path):
    reports = {"scan0": (REPORT, REFERENCE), "scan1": ("Clear.", "Clear.")}
    lines = {("M3D", "nr", "phantom"): reports, ("Argus", "nr", "phantom"): dict(reversed(reports.items()))}
    runs = make_runs(lines | {("Argus", "nr", "inspect"): reports})
    write_comparison(runs, tmp_path / "page.html", subset="phantom")
    page = (tmp_path / "page.html").read_text()
    assert "<title>phantom test: reports beside the truth" in page
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["Truth", "M3D nr", "Argus nr"] * 2
    assert re.findall(r"<h2>(\w+)</h2>", page) == ["scan0", "scan1"]  # in the order of the first system
    with pytest.raises(ValueError, match="has runs of phantom, inspect; choose one of them with --subset"):
        read_systems(runs)
    with pytest.raises(ValueError, match="choose one of them"):
        read_systems(runs, "ct-rate")


@pytest.mark.parametrize(
    ("second", "reason"),
    [({"scan0": (REPORT, "Another.")}, "scan0 has another reference"), ({"scan9": (REPORT, REFERENCE)}, "scan scan0")],
)
def test_systems_that_were_not_given_the_same_scans_are_refused(make_runs, tmp_path, second, reason):
    runs = make_runs({("M3D", "nr", "phantom"): {"scan0": (REPORT, REFERENCE)}, ("Argus", "nr", "phantom"): second})
    with pytest.raises(ValueError, match=reason):
        write_comparison(runs, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_run_without_kept_answers_says_what_is_missing(make_runs, tmp_path):
    make_runs({("M3D", "nr", "phantom"): {"scan0": (REPORT, REFERENCE)}})
    with pytest.raises(FileNotFoundError, match="clinical_answers.sqlite: not there"):
        write_comparison(tmp_path / "run0", tmp_path / "page.html", findings="green")
