"""Reports in a notebook: HTML that holds everything, and a view by ipyniivue."""

import base64
import re
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from argus_inference.scan_reports import ScanReport
from argus_inference.viewer.notebook import crosshair_at


@pytest.fixture
def report(written) -> ScanReport:
    told = ("<script>alert(1)</script>",)
    return ScanReport(str(written.scan), written.report, "RAS", (6.0, 4.0, 4.0), (-1000.0, 900.0), told, False)


def test_html_is_escaped_and_holds_its_picture(report):
    html = report._repr_html_()
    assert "&lt;b&gt;An effusion&lt;/b&gt; on the left." in html and "not a medical device" in html
    assert "Warning: &lt;script&gt;" in html and not re.search(r"<(b|script)>", html)
    (source,) = re.findall(r"<img [^>]*src='data:image/png;base64,([^']+)'", html)
    with Image.open(BytesIO(base64.b64decode(source))) as picture:
        assert picture.width > 2 * picture.height
    assert not re.search(r"https?:|src='/|href", html)


@pytest.mark.parametrize("scan", ["scan-0123", "/nowhere/scan.nii.gz", "/dev/null"])
def test_without_its_scan_a_report_is_shown_without_a_picture(report, scan):
    html = replace(report, scan=scan)._repr_html_()
    assert "<img" not in html and "A nodule in the right lung, 8 mm." in html and "not there" in html


def test_without_ipyniivue_one_line_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[notebook\]'"):
        report.show()


def test_the_crosshair_is_at_the_voxel_that_niivue_counts(written):
    for peak in written.peaks_mm:
        fractions = crosshair_at(peak, written.volume)
        # niivue's voxels rise to the right, the front and the head.
        image = nib.as_closest_canonical(nib.load(written.scan))
        index = np.array(fractions) * image.shape - 0.5
        assert image.affine @ [*index, 1] == pytest.approx([*peak, 1], abs=1e-3)


def test_a_view_has_the_scan_and_the_map_of_the_sentence(report, written):
    pytest.importorskip("ipyniivue", reason="needs the extra `notebook`")
    (plain,) = report.show().children
    assert len(plain.volumes) == 1 and (plain.volumes[0].cal_min, plain.volumes[0].cal_max) == (-1350.0, 150.0)
    told, view = report.show(written.folder, sentence=2).children
    assert "&lt;b&gt;An effusion&lt;/b&gt; on the left." in told.value and "<b>An" not in told.value
    assert "phantoms only" in told.value and "not a medical device" in told.value
    scan, laid_over = (nib.Nifti1Image.from_bytes(bytes(volume.data)) for volume in view.volumes)
    assert np.array_equal(np.asarray(scan.dataobj), written.volume.hu.transpose(2, 1, 0))
    values = np.asarray(laid_over.dataobj)
    top = np.unravel_index(int(values.argmax()), values.shape)
    assert np.abs((laid_over.affine @ [*top, 1])[:3] - written.peaks_mm[1]).max() <= 4
    assert (view.volumes[1].colormap, view.volumes[1].opacity) == ("inferno", 0.5)
    assert view.scene.crosshair_pos == pytest.approx(crosshair_at(written.peaks_mm[1], written.volume))
    assert view.opts.is_radiological_convention and view.opts.sagittal_nose_left


def test_evidence_that_was_just_computed_shows_the_same_map(report, written):
    pytest.importorskip("ipyniivue", reason="needs the extra `notebook`")
    shown = [report.show(given, sentence=1).children for given in (written.folder, written.evidence)]
    (told, of_folder), (same, computed) = shown
    assert told.value == same.value
    first, second = (nib.Nifti1Image.from_bytes(bytes(view.volumes[1].data)) for view in (of_folder, computed))
    canonical = nib.as_closest_canonical
    assert computed.scene.crosshair_pos == pytest.approx(of_folder.scene.crosshair_pos)
    own, other = (np.asarray(canonical(image).dataobj) for image in (first, second))
    assert own.max() == pytest.approx(other.max(), abs=0.05)
    strongest = report.show(Path(written.folder))
    assert len(strongest.children[-1].volumes) == 2


@pytest.mark.parametrize(("sentence", "reason"), [(3, "not carried by the image"), (4, "the report has 3"), (0, "3")])
def test_a_sentence_without_a_map_is_told(report, written, sentence, reason):
    pytest.importorskip("ipyniivue", reason="needs the extra `notebook`")
    for evidence in (written.folder, written.evidence):
        with pytest.raises(ValueError, match=reason):
            report.show(evidence, sentence)
