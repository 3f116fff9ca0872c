import json
from pathlib import Path

import pytest
from measure_rules import REAL, main, measure_real

LABELLED = Path(__file__).parents[1] / "processing" / "curation" / "labelled_sentences.csv"


def _real(folder: Path, *rows: tuple[str, str]) -> Path:
    path = folder / "real.csv"
    path.write_text(
        "sentence,rules\n" + "".join(f'"{sentence}",{rules}\n' for sentence, rules in rows), encoding="utf-8"
    )
    return path


def test_several_labels_each_count_and_any_of_them_is_right(tmp_path):
    path = _real(
        tmp_path,
        ("The nodule of 4 mm is stable.", "comparison+measurement"),
        ("The effusion is stable.", "comparison"),
        ("The stable fracture.", "comparison"),  # kept by the rules: missed
        ("The heart is large.", "keep"),
        ("A nodule of 5 mm.", "keep"),  # dropped: wrong
        ("Perhaps unchanged.", "comparison?"),
    )
    found = measure_real(path, reports=3)
    assert found["measurement"] == {"precision": 0.5, "recall": 1.0, "support": 1}
    assert found["comparison"] == {"precision": 1.0, "recall": 0.6667, "support": 3}
    assert (found["sentences"], found["arguable"], found["reports"]) == (5, 1, 3)


@pytest.mark.parametrize("rules", ["kept", "keep+comparison", "comparison+"])
def test_a_label_that_is_none_is_refused_with_its_row(tmp_path, capsys, rules):
    path = _real(tmp_path, ("Clear lungs.", "keep"), ("Stable.", rules))
    out = tmp_path / "out.json"
    assert main([str(LABELLED), str(out), "--real", str(path), "--reports", "1", "--name", "A"]) == 2
    assert "row 3" in capsys.readouterr().err and not out.exists()


def test_what_was_measured_on_real_sentences_is_kept_by_its_name(tmp_path):
    path, out = _real(tmp_path, ("Clear lungs.", "keep"), ("Stable.", "comparison")), tmp_path / "out.json"
    for name, reports in (("A", "2"), ("B", "3")):
        assert main([str(LABELLED), str(out), "--real", str(path), "--reports", reports, "--name", name]) == 0
    first = json.loads(out.read_text())
    assert {name: found["reports"] for name, found in first[REAL].items()} == {"A": 2, "B": 3}
    assert first[REAL]["A"]["comparison"]["support"] == 1 and "Clear" not in out.read_text()
    assert main([str(LABELLED), str(out)]) == 0
    assert json.loads(out.read_text()) == first
