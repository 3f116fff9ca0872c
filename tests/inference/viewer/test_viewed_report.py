"""The reports that `argus view` takes, and those it refuses in one line."""

import json
import shutil

import pytest

from argus_inference.scan_reports import ScanReport, to_json_lines
from argus_inference.viewer.viewed_report import read_viewed_report
from argus_processing.ct_volume import CTVolume


def test_a_folder_of_evidence_gives_sentences_places_and_maps(written):
    report = read_viewed_report(written.folder)
    assert (report.report, report.scan_path(None)) == (written.report, written.scan)
    first, _, last = report.sentences
    assert written.report[first.start : first.end] == "A nodule in the right lung, 8 mm."
    assert first.map == written.folder / "sentence_01.nii.gz" and first.support == 5.25
    assert first.peak_mm == pytest.approx(written.peaks_mm[0], abs=0.01)
    assert report.warnings == ("a phantom",)
    assert (last.map, last.peak_mm, last.reason) == (None, None, "not carried by the image")
    report.check_scan(written.volume)


def test_a_line_of_a_report_alone_has_sentences_without_maps(written, tmp_path):
    path = tmp_path / "report.json"
    scan = ScanReport(
        str(written.scan), written.report, "RAS", (1.0, 1.0, 1.0), (-1000.0, 400.0), ("never saw a patient",), False
    )
    path.write_text(to_json_lines([scan], "ab" * 32))
    report = read_viewed_report(path)
    assert report.scan_path(None) == written.scan and len(report.sentences) == 3
    assert report.warnings == ("never saw a patient",)
    assert all(sentence.map is None and "--evidence" in sentence.reason for sentence in report.sentences)
    report.check_scan(written.volume)


@pytest.mark.parametrize("content", ["", "no report", "{}\n{}", '{"report": 3, "scan": "x"}', '["report"]', "[" * 9999])
def test_what_is_no_report_is_one_line_with_its_file(argus, some_niivue, tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content)
    code, stdout, stderr = argus("view", path)
    notice, told = stderr.splitlines()
    assert (code, stdout) == (2, "") and str(path) in told


@pytest.mark.parametrize(
    "change",
    [
        {"map": "../scan.nii.gz"},
        {"map": 3},
        {"start": -1},
        {"end": 10**6},
        {"start": "x"},
        {"support_nats": "much"},
        {"support_nats": float("nan")},
        {"support_nats": float("inf")},
        {"map": ".."},
        {"map": ""},
        {"map": "a\0b"},
        {"map": None, "reason": "\ud800"},
        {"peak": {"patient_mm": [0, 0]}},
        {"peak": {"patient_mm": [0, 0, float("nan")]}},
        {"peak": None},
    ],
)
def test_evidence_that_somebody_changed_is_one_line(argus, some_niivue, written, tmp_path, change):
    folder = shutil.copytree(written.folder, tmp_path / "evidence")
    content = json.loads((folder / "evidence.json").read_text())
    content["sentences"][0] |= change
    (folder / "evidence.json").write_text(json.dumps(content))
    code, stdout, stderr = argus("view", folder)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 2)
    assert "evidence.json: is no evidence of a report" in stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"map": "sentence_09.nii.gz"}, "sentence_09.nii.gz: this map is not there; write the evidence again"),
        ({"end": 60}, "evidence.json: its sentences overlap; write it again"),
        ({"peak": {"patient_mm": [0, 0, 5e6]}}, "evidence.json: a peak lies outside of the scan; write it again"),
    ],
)
def test_evidence_that_fits_neither_report_nor_scan_is_one_line(argus, some_niivue, written, tmp_path, change, told):
    folder = shutil.copytree(written.folder, tmp_path / "evidence")
    content = json.loads((folder / "evidence.json").read_text())
    content["sentences"][0] |= change
    (folder / "evidence.json").write_text(json.dumps(content))
    code, _, stderr = argus("view", folder)
    assert code == 2 and stderr.splitlines()[-1].endswith(told)


@pytest.mark.parametrize("change", [{"report": "A \ud800"}, {"warnings": ["\ud800"]}])
def test_half_a_character_is_no_text(argus, some_niivue, written, tmp_path, change):
    folder = shutil.copytree(written.folder, tmp_path / "evidence")
    content = json.loads((folder / "evidence.json").read_text()) | {"sentences": []}
    (folder / "evidence.json").write_text(json.dumps(content | change))
    code, _, stderr = argus("view", folder)
    assert code == 2 and "evidence.json: is no evidence of a report" in stderr
    (tmp_path / "line.json").write_text(json.dumps({"scan": "x", "report": "A.", "warnings": []} | change))
    code, _, stderr = argus("view", tmp_path / "line.json")
    assert code == 2 and "line.json: is no line of `argus report --json`" in stderr


def test_a_report_that_names_no_scan_asks_for_one(argus, some_niivue, tmp_path):
    (tmp_path / "line.json").write_text(json.dumps({"scan": "", "report": "A."}))
    code, _, stderr = argus("view", tmp_path / "line.json")
    assert code == 2 and "the report names no scan, give it with --scan" in stderr


def test_a_scan_that_is_not_there_or_another_is_one_line(argus, some_niivue, written, tmp_path, scans):
    folder = shutil.copytree(written.folder, tmp_path / "evidence")
    content = json.loads((folder / "evidence.json").read_text())
    (folder / "evidence.json").write_text(json.dumps(content | {"scan": "scan-0123"}))
    code, _, stderr = argus("view", folder)
    assert code == 2 and "scan-0123: the report's scan is not there, give it with --scan" in stderr
    code, _, stderr = argus("view", folder, "--scan", scans[0])
    assert code == 2 and "its maps are not of this scan" in stderr.splitlines()[-1]
    moved = written.volume.affine.copy()
    moved[0, 3] += 3
    with pytest.raises(ValueError, match="not of this scan"):
        read_viewed_report(folder).check_scan(CTVolume(written.volume.hu, moved, "RAS"))
