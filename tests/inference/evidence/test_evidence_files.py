"""The files of evidence for a report: NIfTI in the scan's space, JSON, picture; the command that writes them."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from argus_inference.evidence.evidence import EvidenceSettings
from argus_inference.evidence.evidence_files import JSON_FILE, LABELS_FILE, PICTURE_FILE, STEPS, write_evidence
from argus_inference.evidence.explain import explain
from argus_processing import read_ct

REPORT = "There is a small pleural effusion on the right. No lung nodule."


@pytest.fixture(scope="module")
def evidence(loaded, scan, mean):
    found = explain(*loaded, scan, REPORT, mean, settings=EvidenceSettings(min_support=-1e9, min_correlation=0.5))
    second = replace(found.sentences[1], density=None, peak=None, reason="not carried by the image")
    return replace(found, sentences=(found.sentences[0], second))


def test_files_are_in_the_space_of_the_scan_and_tell_what_is_known(evidence, scan, tmp_path):
    volume = read_ct(scan)
    write_evidence(tmp_path / "out", volume, REPORT, evidence, {"scan": "a scan"})
    names = {JSON_FILE, LABELS_FILE, PICTURE_FILE, "sentence_01.nii.gz"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    own, found = nib.load(scan), nib.load(tmp_path / "out" / "sentence_01.nii.gz")
    assert found.shape == own.shape and found.affine == pytest.approx(own.affine, abs=1e-4)
    values, labels = (
        np.asarray(nib.load(tmp_path / "out" / name).dataobj) for name in ("sentence_01.nii.gz", LABELS_FILE)
    )
    told = json.loads((tmp_path / "out" / JSON_FILE).read_text())
    assert (told["scan"], told["report"]) == ("a scan", REPORT) and "phantoms only" in told["limits"][1]
    first, second = told["sentences"]
    assert REPORT[first["start"] : first["end"]] == first["text"] and first["map"] == "sentence_01.nii.gz"
    assert values[tuple(first["peak"]["file_index"])] > 0.5 * values.max()
    assert own.affine @ [*first["peak"]["file_index"], 1] == pytest.approx([*first["peak"]["patient_mm"], 1], abs=0.02)
    assert second["map"] is None and second["reason"] == "not carried by the image"
    assert np.array_equal(labels == 1, values >= 0.5 * values.max()) and set(np.unique(labels)) == {0, 1}
    assert imread(tmp_path / "out" / PICTURE_FILE).ndim == 3


def test_a_stored_map_is_the_computed_one_in_steps_of_its_peak(evidence, scan, tmp_path):
    volume, sentence = read_ct(scan), evidence.sentences[0]
    write_evidence(tmp_path / "out", volume, REPORT, evidence, {})
    image = nib.load(tmp_path / "out" / "sentence_01.nii.gz")
    computed = evidence.file_axes.array(evidence.map_of(sentence))
    assert image.get_data_dtype() == np.int16
    assert np.abs(np.asarray(image.dataobj) - computed).max() <= 1.01 * computed.max() / STEPS
    assert np.argwhere(image.dataobj.get_unscaled() == STEPS).tolist() == [list(sentence.peak.file_index)]
    depth = sentence.peak.index[0]
    assert np.allclose(evidence.slice_of(sentence, depth), evidence.map_of(sentence)[depth], rtol=1e-5)


def test_a_voxel_where_two_maps_are_strong_has_the_stronger_ones_number(evidence, scan, tmp_path):
    volume, first = read_ct(scan), evidence.sentences[0]
    maps = evidence.placement.to_scan(first.density).numpy()
    weaker = replace(evidence.sentences[1], density=0.01 * first.density.roll(1, 2), peak=None)
    values = evidence.map_of(weaker)
    index = tuple(int(at) for at in np.unravel_index(int(values.argmax()), values.shape))
    weaker = replace(
        weaker, reason="", peak=replace(first.peak, index=index, file_index=evidence.file_axes.index(index))
    )
    write_evidence(tmp_path / "out", volume, REPORT, replace(evidence, sentences=(first, weaker)), {})
    labels = evidence.file_axes.canonical(np.asarray(nib.load(tmp_path / "out" / LABELS_FILE).dataobj))
    shares = np.stack([maps / maps.max(), values / values.max()])
    told = np.abs(shares[0] - shares[1]) > 2 / STEPS
    expected = np.where(shares.max(axis=0) < 0.5, 0, 1 + shares.argmax(axis=0))
    clear = told & (np.abs(shares.max(axis=0) - 0.5) > 2 / STEPS)
    assert np.array_equal(labels[clear], expected[clear]) and set(np.unique(labels)) == {0, 1, 2}


def test_a_folder_that_holds_something_is_left_as_it_is(evidence, scan, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises((ValueError, OSError)):
        write_evidence(tmp_path, read_ct(scan), REPORT, evidence, {})
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_model_without_a_mean_scan_is_told_before_anything_is_written(argus, model_dir, scan, tmp_path):
    code, printed, stderr = argus("report", scan, "--model", model_dir, "--evidence", tmp_path / "out")
    assert (code, printed) == (2, "") and "has no mean scan (mean_scan.nii.gz)" in stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_evidence_of_two_scans_at_a_time_is_refused(argus, model_dir, scan, tmp_path):
    code, _, stderr = argus("report", scan, scan, "--model", model_dir, "--evidence", tmp_path / "out")
    assert code == 2 and "--evidence takes one scan, got 2" in stderr
