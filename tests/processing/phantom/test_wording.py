import re
from collections import Counter

from argus_processing.phantom.findings import FINDING_KINDS, Finding
from argus_processing.phantom.scans import report_of, truth_of
from argus_processing.phantom.wording import WORDINGS, wording_of

REPORTS = [report_of(seed) for seed in range(600)]


def test_reports_are_short_and_hold_no_numbers():
    lengths = [len(report.split()) for report in REPORTS]
    assert min(lengths) >= 40
    assert max(lengths) <= 165
    assert sum(70 <= length <= 140 for length in lengths) / len(lengths) > 0.9
    assert not any(re.search(r"\d", report) for report in REPORTS)


def test_the_vocabulary_is_small_and_the_reports_differ():
    words = Counter(word for report in REPORTS for word in re.findall(r"[a-z-]+", report.lower()))
    assert len(words) < 230
    assert len(set(REPORTS)) > 0.95 * len(REPORTS)


def test_every_finding_has_three_wordings_everywhere_it_can_be():
    for kind in FINDING_KINDS.values():
        for side, place in kind.locations:
            wording = wording_of(Finding(kind.label, side, place))
            assert len(wording.present) >= 3
            assert len(wording.short) >= 2
            needed = [word for word in (side, place) if word in ("left", "right")]
            assert all("{side}" in text for text in wording.present + wording.short if needed)


def test_a_report_of_some_labels_tells_nothing_of_others():
    labels = list(FINDING_KINDS)[:13]
    for seed in range(100):
        report = report_of(seed, labels)
        assert not re.search("mosaic|sept|peribronchial|bronchiect|bronchi are not|fibrotic", report), report
        assert {found.label for found in truth_of(seed, labels)} <= set(labels)


def test_findings_come_in_the_order_of_dictation():
    order = [label for label in WORDINGS if "/" not in label]
    assert set(order) == set(FINDING_KINDS)
    effusion = next(s for s in range(600) if {"Lung nodule", "Hiatal hernia"} <= {f.label for f in truth_of(s)})
    findings = REPORTS[effusion].lower().split("impression")[0]
    assert findings.index("nodule") < findings.index("hernia")


def test_a_scan_without_findings_is_called_normal():
    normal = [seed for seed in range(600) if not truth_of(seed)]
    assert normal
    for seed in normal:
        assert re.search(r"normal|unremarkable|no significant", REPORTS[seed].split("Impression: ")[1].lower())
