"""A table of sentences and masks in ReXGroundingCT's layout, for scans stored in other axes than the canonical ones."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from argus_evaluation.evidence.mask_table import masked_cases, read_mask_table
from argus_evaluation.evidence.phantom_cases import finding_mask
from argus_inference.evidence.scan_placement import file_axes_of
from argus_processing import read_ct
from argus_processing.ct_checks import CTReadError
from argus_processing.phantom.files import FileStyle, write_nifti
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import make_phantom
from argus_processing.report_text import sentence_spans

SPACING = (12.0, 8.0, 8.0)
FINDINGS = (Finding("Pleural effusion", "right", None), Finding("Lung nodule", "left", "upper lobe"))
SENTENCES = ("A pleural effusion is seen\n on the right", "There is a nodule in the left upper lobe.")


@pytest.fixture(scope="module")
def masks():
    phantom = make_phantom(3, SPACING, FINDINGS)
    return [finding_mask(phantom, SPACING, finding) for finding in FINDINGS]


@pytest.fixture
def folder(tmp_path, masks):
    write_nifti(make_phantom(3, SPACING, FINDINGS), tmp_path / "scan.nii.gz", FileStyle(("P", "S", "L"), "int16", 1, 0))
    axes = file_axes_of(read_ct(tmp_path / "scan.nii.gz"))
    stored = [axes.array(mask).astype(np.uint8) for mask in masks]
    for number, mask in enumerate(stored):
        nib.save(nib.Nifti1Image(mask, axes.affine), tmp_path / f"mask{number}.nii.gz")
    nib.save(nib.Nifti1Image(np.stack(stored), axes.affine), tmp_path / "first.nii.gz")
    nib.save(nib.Nifti1Image(np.stack(stored, axis=-1), axes.affine), tmp_path / "last.nii.gz")
    return tmp_path


def table(folder, *rows: str, head: str = "scan,sentence,mask,channel"):
    path = folder / "table.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


ROWS = {
    "a file each": ("mask0.nii.gz,", "mask1.nii.gz,"),
    "channels first": ("first.nii.gz,0", "first.nii.gz,1"),
    "channels last": ("last.nii.gz,0", "last.nii.gz,1"),
}


@pytest.mark.parametrize("layout", ROWS)
def test_masks_come_in_the_canonical_scan_and_sentences_make_the_report(folder, masks, layout):
    rows = [f'scan.nii.gz,"{text}",{mask}' for text, mask in zip(SENTENCES, ROWS[layout], strict=True)]
    (case,) = masked_cases(read_mask_table(table(folder, *rows)))
    assert case.report == "A pleural effusion is seen on the right. There is a nodule in the left upper lobe."
    for finding, mask in zip(case.findings, masks, strict=True):
        assert np.array_equal(finding.mask, mask)
    stated = case.statements_in(case.report)
    assert [case.report[each.start : each.end] for each in stated] == [
        "A pleural effusion is seen on the right.",
        "There is a nodule in the left upper lobe.",
    ]
    assert [each.finding for each in stated] == list(case.findings)


@pytest.mark.parametrize(
    ("rows", "head", "told"),
    [
        ((), "scan,sentence,mask", "has no rows"),
        (("a,b",), "scan,sentence", "has no column mask; it needs scan, sentence, mask"),
        (("scan.nii.gz,,mask0.nii.gz",), "scan,sentence,mask", "line 2 has no sentence"),
        (("scan.nii.gz,A.,none.nii.gz",), "scan,sentence,mask", "line 2 names .*none.nii.gz, which does not exist"),
        (("scan.nii.gz,A.,first.nii.gz,x",), "scan,sentence,mask,channel", "channel must be a whole number"),
        (("scan.nii.gz,A.,first.nii.gz,²",), "scan,sentence,mask,channel", "line 2: channel must be a whole number"),
        (("scan.nii.gz,Findings:,mask0.nii.gz",), "scan,sentence,mask", "line 2: 'Findings:' is a head without"),
        (
            ('scan.nii.gz,"A\n nodule.",mask0.nii.gz', "", "scan.nii.gz,,mask0.nii.gz"),
            "scan,sentence,mask",
            "line 5 has",
        ),
        (("scan.nii.gz,Herzgr\udcf6sse,mask0.nii.gz",), "scan,sentence,mask", "table.csv: is no CSV table in UTF-8"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(folder, rows, head, told):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        read_mask_table(table(folder, *rows, head=head))


def test_masks_of_another_space_are_refused(folder):
    axes = file_axes_of(read_ct(folder / "scan.nii.gz"))
    own = nib.load(folder / "mask0.nii.gz")
    moved = own.affine.copy()
    moved[0, 3] += 20
    nib.save(nib.Nifti1Image(np.asarray(own.dataobj), moved), folder / "moved.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(own.dataobj)[:-1], own.affine), folder / "short.nii.gz")
    for mask, told in (("moved", "lies elsewhere"), ("short", "must be the same"), ("first", "holds 2 findings")):
        rows = read_mask_table(table(folder, f"scan.nii.gz,A.,{mask}.nii.gz,"))
        with pytest.raises(ValueError, match=told):
            list(masked_cases(rows))
    assert axes.affine.shape == (4, 4)


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (("Impression: Hernia.", "A nodule."), ("Hernia.", "A nodule.")),
        (("Hernia, 2 cm, lat", "a second"), ("Hernia, 2 cm, lat.", "a second.")),
        (("A nodule. It is round.", "Hernia."), ("A nodule.", "Hernia.")),
    ],
)
def test_each_row_keeps_a_sentence_of_its_own(folder, texts, first):
    rows = [f'scan.nii.gz,"{text}",mask{number}.nii.gz' for number, text in enumerate(texts)]
    (case,) = masked_cases(read_mask_table(table(folder, *rows, head="scan,sentence,mask")))
    stated = case.statements_in(case.report)
    assert tuple(case.report[each.start : each.end] for each in stated) == first
    spans = sentence_spans(case.report)
    assert all((each.start, each.end) in spans for each in stated)


@pytest.mark.parametrize("value", [float("nan"), 0.3, 2.0, float("inf")])
def test_what_is_no_mask_is_refused(folder, value):
    own = nib.load(folder / "mask0.nii.gz")
    array = np.asarray(own.dataobj).astype(np.float32)
    array[:2] = value
    nib.save(nib.Nifti1Image(array, own.affine), folder / "soft.nii.gz")
    rows = read_mask_table(table(folder, "scan.nii.gz,A.,soft.nii.gz,"))
    with pytest.raises(CTReadError, match="soft.nii.gz: holds more than 0 and one other number"):
        list(masked_cases(rows))


def test_a_channel_of_a_mask_without_channels_is_refused(folder):
    rows = read_mask_table(table(folder, "scan.nii.gz,A.,mask0.nii.gz,7"))
    with pytest.raises(ValueError, match="holds one finding; the table's channel is 7"):
        list(masked_cases(rows))


DAMAGED = {
    "cut short": lambda whole: whole[: len(whole) // 2],
    "an empty file": lambda whole: b"",
    "no NIfTI at all": lambda whole: b"A nodule, 8 mm.",
    "packed, but not a NIfTI file": lambda whole: gzip.compress(b"A nodule, 8 mm."),
    "a header alone": lambda whole: gzip.compress(gzip.decompress(whole)[:352]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_mask_is_told_in_one_line(folder, damage):
    path = folder / "mask0.nii.gz"
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    rows = read_mask_table(table(folder, "scan.nii.gz,A.,mask0.nii.gz,"))
    with pytest.raises(CTReadError, match="mask0.nii.gz: is no NIfTI file, or a damaged one; give the mask again"):
        list(masked_cases(rows))
