"""An audit on scans with boxes: what is erased is what is listed, and a table that does not fit is refused."""

import csv
from functools import lru_cache

import nibabel as nib
import numpy as np
import pytest
from dishonest_writers import HashWriter, Writer

from argus_evaluation.audit.audit_results import SCANS
from argus_evaluation.audit.audit_verdict import CANNOT_TELL, READS
from argus_evaluation.audit.listed_boxes import BOX_COLUMNS, ListedFinding, finding_mask, read_boxes
from argus_evaluation.audit.scan_audit import audit_scans, side_of
from argus_processing import CTReadError, read_ct
from argus_processing.phantom.files import FileStyle, nifti_of, write_nifti
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import make_phantom

SPACING = (6.0, 4.0, 4.0)
NUM_SCANS = 9
STYLES = [FileStyle(("L", "P", "S"), "int16", 1.0, 0.0), FileStyle(("R", "A", "S"), "int16", 1.0, -1024.0)]


def nodule_of(number):
    return Finding("Lung nodule", ("left", "right")[number % 2], ("upper lobe", "lower lobe")[number // 2 % 2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms with one nodule each, in files of two orientations, and the table of their masks and boxes."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for number in range(NUM_SCANS):
        drawn, bare = (make_phantom(100 + number, SPACING, own) for own in ([nodule_of(number)], []))
        style = STYLES[number % 2]
        write_nifti(drawn, folder / f"scan{number}.nii.gz", style)
        images = [np.asarray(nifti_of(each, style).dataobj).astype(int) for each in (drawn, bare)]
        changed = np.argwhere(np.abs(images[0] - images[1]) > 30)
        low, high = changed.min(axis=0), changed.max(axis=0) + 1
        row = {"scan": f"scan{number}.nii.gz", "finding": "Lung nodule", "mask": ""}
        if number < 2:
            mask = np.zeros(images[0].shape, dtype=np.uint8)
            mask[tuple(slice(*each) for each in zip(low, high, strict=True))] = 1
            nib.save(nib.Nifti1Image(mask, nifti_of(drawn, style).affine), folder / f"mask{number}.nii.gz")
            row["mask"] = f"mask{number}.nii.gz"
        else:
            row |= dict(zip(BOX_COLUMNS, np.stack([low, high], axis=1).ravel().tolist(), strict=True))
        rows.append(row)
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["scan", "finding", "mask", *BOX_COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    return folder


class NoduleWriter(Writer):
    """Know the scans without their nodules, and see what differs; tell its side by its column."""

    name = "nodule writer"

    def report(self, hu):
        nearest = min((np.abs(hu - bare).mean(), number) for number, bare in known_scans() if bare.shape == hu.shape)
        changed = np.argwhere(hu - dict(known_scans())[nearest[1]] > 500)
        if len(changed) < 5:
            return "No lung nodule."
        side = "left" if changed[:, 2].mean() > hu.shape[2] / 2 else "right"
        return f"There is a nodule in the {side} lung."


@lru_cache(maxsize=1)
def known_scans():
    """Every phantom without its nodule, as it is and mirrored."""
    bare = [make_phantom(100 + number, SPACING, []).hu.astype(np.float32) for number in range(NUM_SCANS)]
    return [*enumerate(bare), *((-1 - number, hu[:, :, ::-1]) for number, hu in enumerate(bare))]


def test_a_box_and_a_mask_lie_where_the_finding_is_in_any_orientation(folder):
    for number, listed in enumerate(read_boxes(folder, folder / "boxes.csv")):
        volume = read_ct(listed.scan)
        mask = finding_mask(listed, volume)
        assert side_of(mask) == nodule_of(number).side
        drawn, bare = (make_phantom(100 + number, SPACING, own).hu for own in ([nodule_of(number)], []))
        changed = np.abs(drawn.astype(int) - bare) > 30
        assert mask[changed].all() and volume.hu[mask].max() > -100


def test_a_writer_that_sees_nodules_follows_what_is_erased(folder, tmp_path):
    results = audit_scans(NoduleWriter(), folder, folder / "boxes.csv", tmp_path / "out")
    assert results.kind == SCANS and results.num_subjects == NUM_SCANS
    assert results.effects["drawn_effect"].value > 0.5 and results.effects["elsewhere_effect"].value == 0
    assert results.verdict == READS and results.effects["side_following"].value > 0.5
    assert "real scans" in (tmp_path / "out" / "audit.html").read_text()


def test_a_hash_of_the_scan_does_not(folder, tmp_path):
    results = audit_scans(HashWriter(), folder, folder / "boxes.csv", tmp_path / "out")
    assert results.verdict != READS and results.paired_effect.low <= 0 <= results.paired_effect.high
    assert results.effects["other_patient_effect"].value is None  # every scan has a nodule


def test_few_scans_give_no_verdict(folder, tmp_path):
    lines = (folder / "boxes.csv").read_text().splitlines()[:4]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    results = audit_scans(NoduleWriter(), folder, tmp_path / "boxes.csv", tmp_path / "out")
    assert results.verdict == CANNOT_TELL and "too few" in results.reason


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("scan,finding\nscan0.nii.gz,Lung nodule", "no column|a box"),
        ("scan,mask\nscan0.nii.gz,mask0.nii.gz", "no column finding"),
        ("scan,finding,mask\nscan0.nii.gz,Gallstone,mask0.nii.gz", "row 2: no finding 'Gallstone'"),
        ("scan,finding,mask\nscan99.nii.gz,Lung nodule,mask0.nii.gz", "row 2: no such file"),
        ("scan,finding,mask\n../scan.nii.gz,Lung nodule,mask0.nii.gz", "outside of the folder"),
        ("scan,finding,i0,i1,j0,j1,k0,k1\nscan0.nii.gz,Lung nodule,1,2,3,4,5,x", "whole numbers"),
        ("scan,finding,i0,i1,j0,j1,k0,k1\nscan0.nii.gz,Lung nodule,2,2,3,4,5,6", "from a lower to a higher"),
        ("scan,finding,mask\n", "lists no finding"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(folder, tmp_path, table, reason):
    (tmp_path / "boxes.csv").write_text(table)
    with pytest.raises((ValueError, OSError), match=reason) as refused:
        read_boxes(folder, tmp_path / "boxes.csv")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), 0.3, 2.0])
def test_what_is_no_mask_is_refused(folder, tmp_path, value):
    volume = read_ct(folder / "scan0.nii.gz")
    image = nib.load(folder / "scan0.nii.gz")
    mask = np.zeros(image.shape, np.float32)
    mask[:9], mask[9:12] = 1, value
    nib.save(nib.Nifti1Image(mask, image.affine), tmp_path / "mask.nii.gz")
    with pytest.raises(CTReadError, match="mask.nii.gz: holds more than 0 and one other number"):
        finding_mask(ListedFinding(folder / "scan0.nii.gz", "Lung nodule", mask=tmp_path / "mask.nii.gz"), volume)


def test_a_damaged_mask_is_told_in_one_line(folder, tmp_path):
    volume = read_ct(folder / "scan0.nii.gz")
    (tmp_path / "mask.nii.gz").write_bytes((folder / "scan0.nii.gz").read_bytes()[:900])
    with pytest.raises(CTReadError, match="mask.nii.gz: is no NIfTI file, or a damaged one; give the file again"):
        finding_mask(ListedFinding(folder / "scan0.nii.gz", "Lung nodule", mask=tmp_path / "mask.nii.gz"), volume)


def test_a_mask_of_another_grid_or_without_a_voxel_is_refused(folder):
    volume = read_ct(folder / "scan0.nii.gz")
    with pytest.raises(ValueError, match="another grid"):
        finding_mask(ListedFinding(folder / "scan0.nii.gz", "Lung nodule", mask=folder / "scan4.nii.gz"), volume)
    with pytest.raises(ValueError, match="ends outside of the file's 96 x 83 x 49 voxels"):
        finding_mask(ListedFinding(folder / "scan0.nii.gz", "Lung nodule", (90, 900, 0, 1, 0, 1)), volume)
