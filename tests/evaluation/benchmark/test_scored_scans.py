import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from argus_evaluation.benchmark.compare import compare_runs
from argus_evaluation.benchmark.evaluation_results import EvaluationResults, read_results, write_results
from argus_evaluation.benchmark.recompute import recompute
from argus_evaluation.benchmark.rescoring import score_stored_again
from argus_evaluation.benchmark.scored_scans import (
    MANIFEST_FILE,
    choose_ids,
    difference,
    read_test_set,
    scored_scans,
    select_scans,
    write_manifest,
)
from argus_evaluation.benchmark.scoring import score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport, read_stored_reports, write_stored_reports
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_processing.storage.file_hash import hash_file

REFERENCES = {"valid_2_a": "No nodule.", "valid_10_a": "A nodule.", "valid_1_b": "Größe ist normal."}
WORDS = {name: METRICS[name] for name in ("BLEU-1", "ROUGE-L")}


def test_the_hash_of_the_ids_is_what_sort_and_sha256sum_print(tmp_path):
    (tmp_path / "ids.txt").write_text("".join(f"{scan_id}\n" for scan_id in REFERENCES))
    command = "LC_ALL=C sort ids.txt | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    scored = scored_scans(REFERENCES)
    assert scored.ids_sha256 == printed.split()[0]
    assert scored.scans["valid_2_a"] == hashlib.sha256(b"No nodule.").hexdigest()[:16]
    lines = sorted(f"{scan_id}\t{scored.scans[scan_id]}\n".encode() for scan_id in REFERENCES)
    assert scored.references_sha256 == hashlib.sha256(b"".join(lines)).hexdigest()


def test_the_order_of_the_scans_does_not_matter_and_a_reference_does():
    scored = scored_scans(REFERENCES)
    other = scored_scans(dict(reversed(REFERENCES.items())))
    assert difference(scored, other) == "" and scored.ids_sha256 == other.ids_sha256
    changed = scored_scans(REFERENCES | {"valid_10_a": "Two nodules."})
    assert changed.ids_sha256 == scored.ids_sha256
    assert difference(scored, changed) == "the same scans, with other references for 1 (valid_10_a)"
    fewer = scored_scans({name: REFERENCES[name] for name in ("valid_2_a",)} | {"valid_7_a": "Clear."})
    told = "3 and 2 scans, 2 only in the first (valid_10_a, valid_1_b), 1 only in the second (valid_7_a)"
    assert difference(scored, fewer) == told
    assert difference(scored, None) == ""


def test_a_manifest_is_read_back_and_so_are_lists_of_ids(tmp_path):
    write_manifest(tmp_path, "ct-rate", "test", scored_scans(REFERENCES))
    content = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert (content["format"], content["num_scans"], content["subset"]) == (1, 3, "ct-rate")
    assert read_test_set(tmp_path / MANIFEST_FILE) == scored_scans(REFERENCES).scans
    (tmp_path / "ids.txt").write_text("\ufeff# those of the paper\r\nvalid_2_a\r\n\r\n valid_10_a \n")
    assert read_test_set(tmp_path / "ids.txt") == {"valid_2_a": "", "valid_10_a": ""}
    (tmp_path / "ids.json").write_text('["valid_2_a", "valid_10_a"]')
    assert read_test_set(tmp_path / "ids.json") == {"valid_2_a": "", "valid_10_a": ""}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ids.txt", "a\nb\na\n", "names a twice"),
        ("ids.txt", "# nothing\n", "names no scan"),
        ("ids.json", "{}", "neither test_set.json nor a list of ids"),
        ("ids.json", "[", "neither test_set.json nor a list of ids"),
        ("ids.json", '["a", "a"]', "names a twice"),
    ],
)
def test_a_damaged_list_is_refused_in_one_line(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=told) as error:
        read_test_set(tmp_path / name)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="not there; give test_set.json"):
        read_test_set(tmp_path / "none.txt")


def test_volumes_of_a_scan_stand_for_the_scan(tmp_path):
    path = Path("list.txt")
    names = ["valid_2_a_1.nii.gz", "valid_2_a_2.nii.gz", "dataset/valid/valid_1/valid_1_b/valid_1_b_1.nii.gz"]
    assert choose_ids(REFERENCES, dict.fromkeys(names, ""), path) == {"valid_2_a", "valid_1_b"}
    with pytest.raises(ValueError, match=r"list.txt: 1 of its 1 scans are not there \(valid_99_a_1\)"):
        choose_ids(REFERENCES, {"valid_99_a_1": ""}, path)


def test_scans_are_selected_in_the_splits_order_by_id_or_written_name():
    rows = datasets.Dataset.from_dict({"scan_id": list(REFERENCES), "report": list(REFERENCES.values())})
    path = Path("list.txt")
    chosen = select_scans(rows, {"name of valid_1_b": "", "valid_2_a": ""}, path, lambda scan_id: f"name of {scan_id}")
    assert chosen["scan_id"] == ["valid_2_a", "valid_1_b"]
    known = scored_scans(REFERENCES).scans
    assert select_scans(rows, known, path)["scan_id"] == list(REFERENCES)
    with pytest.raises(ValueError, match=r"1 of its scans have another reference here \(valid_2_a\)"):
        select_scans(rows, known | {"valid_2_a": "0" * 16}, path)


def stored(folder: Path, references: dict[str, str], written: str) -> Path:
    """Write an evaluation whose model says the same of every scan."""
    folder.mkdir()
    reports = [
        StoredReport(scan_id, reference, {"model": f"{written} {scan_id}", "blank": "No."}, False)
        for scan_id, reference in references.items()
    ]
    write_stored_reports(folder, reports)
    scores = vars(score_stored(reports, WORDS))
    own = {"model_hash": written * 8, "subset": "ct-rate", "split": "test"}
    write_results(folder, EvaluationResults(**scores, **own, reports_sha256=hash_file(folder / "reports.jsonl")))
    return folder


def test_two_test_sets_are_refused_and_a_shared_part_is_compared(tmp_path):
    fewer = {name: REFERENCES[name] for name in ("valid_1_b", "valid_2_a")}
    one, other = stored(tmp_path / "a", REFERENCES, "A nodule."), stored(tmp_path / "b", fewer, "No nodule.")
    with pytest.raises(ValueError, match=r"3 and 2 scans, 1 only in the first \(valid_10_a\)"):
        compare_runs(one, other, WORDS)
    (tmp_path / "shared.txt").write_text("valid_1_b\nvalid_2_a\n")
    score_stored_again(one, tmp_path / "part", WORDS, tmp_path / "shared.txt")
    # The two hold the scans in different order.
    assert [report.scan_id for report in read_stored_reports(tmp_path / "part")] == ["valid_2_a", "valid_1_b"]
    compared = compare_runs(tmp_path / "part", other, WORDS)
    assert compared.n_test == 2 and set(compared.metrics) == {"BLEU-1", "ROUGE-L"}


def test_scoring_a_part_again_gives_the_numbers_of_its_reports_alone(tmp_path):
    whole = stored(tmp_path / "a", REFERENCES, "A nodule.")
    (tmp_path / "ids.txt").write_text("valid_10_a\nvalid_2_a\n")
    results = score_stored_again(whole, tmp_path / "part", WORDS, tmp_path / "ids.txt")
    part = [report for report in read_stored_reports(whole) if report.scan_id != "valid_1_b"]
    assert results.metrics == score_stored(part, WORDS).metrics and results.n_test == 2
    assert read_results(tmp_path / "part") == results
    assert set(read_test_set(tmp_path / "part" / MANIFEST_FILE)) == {"valid_10_a", "valid_2_a"}
    assert recompute(tmp_path / "part", WORDS).differences == []
    assert score_stored_again(whole, tmp_path / "all", WORDS).metrics == read_results(whole).metrics
    for out, told in ((whole, "holds the reports"), (tmp_path, "holds something else")):
        with pytest.raises(ValueError, match=told):
            score_stored_again(whole, out, WORDS)


def test_results_tell_their_scans_and_a_change_of_them_is_found(tmp_path):
    folder = stored(tmp_path / "a", REFERENCES, "A nodule.")
    results = read_results(folder)
    assert results.scans == scored_scans(REFERENCES)
    write_results(folder, replace(results, scans=replace(results.scans, ids_sha256="0" * 64)))
    assert [line.split(":")[0] for line in recompute(folder, WORDS).differences] == ["scans/ids_sha256"]
    write_results(folder, replace(results, scans=None))
    assert recompute(folder, WORDS).differences == []
    assert any("does not tell scans" in line for line in recompute(folder, WORDS).not_checked)
