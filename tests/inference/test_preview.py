import matplotlib.image
import numpy as np
import pytest

from argus_inference.preview import LUNG, SOFT, choose_window, middle_planes, save_preview
from argus_processing import CTVolume
from argus_processing.phantom.scans import make_phantom

SPACING = (12.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def volume() -> CTVolume:
    return CTVolume.from_array(make_phantom(0, SPACING).hu, SPACING)


def test_planes_show_right_on_the_left_front_on_top_and_feet_down():
    hu = np.zeros((8, 10, 12), np.int16)
    hu[4, 0, 0] = 1  # front, patient's right, in the middle axial slice
    hu[0, 5, 0] = 2  # feet, patient's right, in the middle coronal slice
    hu[0, 0, 6] = 3  # feet, front, in the middle sagittal slice
    axial, coronal, sagittal = middle_planes(hu, (4.0, 2.0, 1.0))
    assert axial.pixels[0, 0] == 1 and (axial.left, axial.top) == ("R", "A")
    assert coronal.pixels[-1, 0] == 2 and (coronal.left, coronal.bottom) == ("R", "F")
    assert sagittal.pixels[-1, 0] == 3 and (sagittal.left, sagittal.bottom) == ("A", "F")
    assert (axial.aspect, coronal.aspect, sagittal.aspect) == (2.0, 4.0, 2.0)


def test_window_follows_the_lungs(volume):
    assert choose_window(volume.hu) is LUNG
    assert choose_window(np.full((16, 16, 16), 40, np.int16)) is SOFT
    assert LUNG.label == "lung window  W 1500  L -600 HU"


@pytest.mark.parametrize("report", ["", "No nodule of 5 mm^2; costs $5 or $6.", "Word " * 3000])
def test_preview_is_a_whole_png_of_the_stated_size(volume, tmp_path, report):
    out = tmp_path / "preview.png"
    save_preview(volume, report, out)
    picture = matplotlib.image.imread(out)
    assert picture.shape == (624, 1920, 4)
    assert picture[:, :1300, :3].std() > 0.1  # the planes are there
    assert list(tmp_path.iterdir()) == [out]


def test_a_longer_report_fills_more_of_the_picture(volume, tmp_path):
    ink = []
    for report in ("Short.", "Longer. " * 30):
        save_preview(volume, report, tmp_path / "p.png")
        ink.append((matplotlib.image.imread(tmp_path / "p.png")[70:560, 1344:, 0] > 0.5).sum())
    assert ink[1] > 10 * ink[0] > 0


def test_other_formats_are_refused(volume, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.png"):
        save_preview(volume, "text", tmp_path / "p.pdf")
