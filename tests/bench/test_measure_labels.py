import csv

import pytest
from measure_labels import TEXT, choose, main, read_labelled

from argus_evaluation.metrics.labels import CT_RATE_LABELS

REPORTS = {
    "A nodule in the right lung.": {"Lung nodule"},
    "No pleural effusion. The heart is enlarged.": {"Cardiomegaly"},
    "Emphysema.": {"Emphysema", "Atelectasis"},
}


def write(path, rows, columns=(TEXT, *CT_RATE_LABELS)):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def rows():
    return [
        {TEXT: text} | {label: int(label in labels) for label in CT_RATE_LABELS} for text, labels in REPORTS.items()
    ]


def test_labelled_reports_are_read_and_measured(tmp_path, rows, capsys):
    path = write(tmp_path / "reports.csv", rows)
    assert dict(read_labelled(path)) == REPORTS
    main([str(path)])
    told = capsys.readouterr().out
    assert "3 reports; macro-F1 0.750, micro-F1 0.857" in " ".join(told.split())  # three labels right, one missed
    rows = [line.replace("│", " ").split() for line in told.split("\n")]
    assert ["Atelectasis", "1", "0.000", "0.000", "0.000"] in rows


def test_a_seed_names_parts_that_do_not_overlap():
    reports = [(str(number), frozenset()) for number in range(10)]
    first, second = choose(reports, 7, 0, 6), choose(reports, 7, 6, None)
    assert len(first) == 6 and len(second) == 4 and sorted(first + second) == reports
    assert first != reports[:6] and choose(reports, None, 2, 3) == reports[2:5]


def test_what_is_not_labelled_is_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="lacks the column Atelectasis"):
        read_labelled(write(tmp_path / "a.csv", rows, [TEXT, *(set(CT_RATE_LABELS) - {"Atelectasis"})]))
    rows[1]["Cardiomegaly"] = "yes"
    with pytest.raises(ValueError, match="row 3: Cardiomegaly must be 0 or 1, got 'yes'"):
        read_labelled(write(tmp_path / "b.csv", rows))
    with pytest.raises(ValueError, match="holds no reports"):
        read_labelled(write(tmp_path / "c.csv", []))
