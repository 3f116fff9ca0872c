import gzip
import json
from collections import Counter

import nibabel as nib
import numpy as np
import pytest

from argus_processing.phantom.files import (
    _AXES,
    _STORAGE,
    FileStyle,
    draw_file_style,
    is_marked_phantom,
    nifti_of,
    scan_id_of,
    write_nifti,
    write_phantom,
)
from argus_processing.phantom.layouts import TRUTH_FILE, write_layout
from argus_processing.phantom.scans import make_phantom, stream, truth_of

COARSE = (9.0, 7.0, 7.0)


def read_canonical(path) -> np.ndarray:
    """Return nibabel's own canonical orientation (RAS), turned to (D, H, W)."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)


@pytest.mark.parametrize("storage", _STORAGE, ids=str)
@pytest.mark.parametrize("axes", _AXES, ids="".join)
def test_every_style_reads_back_as_the_same_volume(tmp_path, axes, storage):
    phantom = make_phantom(6, COARSE)
    write_nifti(phantom, tmp_path / "scan.nii.gz", FileStyle(axes, *storage))
    image = nib.load(tmp_path / "scan.nii.gz")
    assert nib.aff2axcodes(image.affine) == axes
    assert image.get_data_dtype() == np.dtype(storage[0])
    assert np.array_equal(read_canonical(tmp_path / "scan.nii.gz"), phantom.hu)
    assert nib.as_closest_canonical(image).header.get_zooms() == pytest.approx(phantom.spacing_mm[::-1])
    assert nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2) == pytest.approx(0, abs=1e-3)


def test_files_are_the_same_to_the_byte(tmp_path):
    for folder in ("a", "b"):
        write_phantom(tmp_path / folder, 3, COARSE)
    (first,), (second,) = ((tmp_path / folder).glob("*") for folder in ("a", "b"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)  # no time in the gzip header


def test_header_holds_no_text_but_that_it_is_a_phantom(tmp_path):
    write_phantom(tmp_path, 3, COARSE)
    header = nib.load(next(tmp_path.iterdir())).header
    assert header["descrip"].item() == b"argus phantom"
    assert all(not header[field].item() for field in ("db_name", "aux_file", "intent_name"))
    raw = gzip.decompress(next(tmp_path.iterdir()).read_bytes())
    assert nib.Nifti1Image.from_bytes(raw).shape == nib.load(next(tmp_path.iterdir())).shape


def test_a_phantom_is_told_from_other_scans_by_its_header(tmp_path):
    write_phantom(tmp_path, 3, COARSE)
    packed = next(tmp_path.iterdir())
    plain = tmp_path / "plain.nii"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    assert is_marked_phantom(packed) and is_marked_phantom(plain)
    for number, edit in enumerate((lambda b: b[:100], lambda b: b[:148] + bytes(80) + b[228:], lambda b: b"no scan")):
        other = tmp_path / f"{number}.nii"
        other.write_bytes(edit(plain.read_bytes()))
        assert not is_marked_phantom(other)
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(packed.read_bytes()[:12] + bytes(400))
    assert not is_marked_phantom(damaged) and not is_marked_phantom(tmp_path)


def test_how_a_file_is_stored_tells_nothing_about_its_findings():
    # The style's stream and the id depend on the seed alone; over many seeds each label is as common in each style.
    counts, styles = Counter(), Counter()
    for seed in range(3000):
        axes = draw_file_style(stream(seed, "file")).axes
        styles[axes] += 1
        counts.update((axes, finding.label) for finding in truth_of(seed))
    common = [axes for axes in styles if styles[axes] > 400]
    assert len(common) >= 3
    for label in ("Pleural effusion", "Lung nodule", "Cardiomegaly"):
        shares = [counts[axes, label] / styles[axes] for axes in common]
        assert max(shares) - min(shares) < 0.08


def test_findings_change_neither_a_files_name_nor_its_geometry():
    ill, healthy = make_phantom(15, COARSE), make_phantom(15, COARSE, findings=[])
    assert ill.findings
    first, second = nifti_of(ill), nifti_of(healthy)
    assert np.array_equal(first.affine, second.affine)
    assert first.header.binaryblock == second.header.binaryblock
    assert len({scan_id_of(seed) for seed in range(1000)}) == 1000


@pytest.mark.parametrize("layout", ["ct-rate", "bimcv-r", "inspect"])
def test_a_layout_is_complete_and_its_truth_names_every_volume(tmp_path, layout):
    out = write_layout(tmp_path / "new" / "set", layout, n=3, seed=2)
    volumes = {path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz")}
    truth = [json.loads(line) for line in (out / TRUTH_FILE).read_text().splitlines()]
    assert {row["file"] for row in truth} == volumes
    assert len(volumes) >= 3
    assert [path.name for path in out.parent.iterdir()] == ["set"]
    tables = "".join(path.read_text() for path in [*out.rglob("*.csv"), *out.rglob("*.tsv")])
    for row in truth:
        injected = [entry["sentence"] for entry in row["injected"]]
        assert all(sentence in tables for sentence in [*row["clean"].split(". ")[0].split("."), *injected])
        assert row["file"].rsplit("/", 1)[1].removesuffix(".nii.gz") in tables


def test_ct_rate_volumes_are_in_hu_without_the_metadata(tmp_path):
    out = write_layout(tmp_path / "set", "ct-rate", n=3)
    assert {path.name for path in (out / "dataset").iterdir()} == {
        "train_fixed",
        "valid_fixed",
        "radiology_text_reports",
        "metadata",
    }
    image = nib.load(next(out.rglob("train_1_a_1.nii.gz")))
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    stored = np.asanyarray(image.dataobj)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    # Corners outside the round field of view, and nothing else, are padding.
    assert stored[0, 0].tolist() == [-8192] * stored.shape[2]
    assert stored[stored != -8192].min() >= -1024


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        write_layout(tmp_path, "inspect", n=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_layout_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("argus_processing.phantom.layouts.write_phantom", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_layout(tmp_path / "set", "inspect", n=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("layout", "n"), [("mimic", 1), ("ct-rate", 0)])
def test_an_unknown_layout_or_no_scans_are_refused(tmp_path, layout, n):
    with pytest.raises(ValueError):
        write_layout(tmp_path / "set", layout, n=n)
