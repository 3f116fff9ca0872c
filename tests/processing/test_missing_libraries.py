"""Shipped files read NIfTI where isal and pydicom are not installed, and say what DICOM needs."""

import subprocess
import sys

import numpy as np

# The files of the package alone, as transformers copies them: the package itself registers more than is needed here.
PROGRAM = """
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
package = ModuleType("shipped")
package.__path__ = [{folder!r}]
sys.modules["shipped"] = package
from shipped.read_ct import read_ct
from shipped.ct_checks import CTReadError
for path in sys.argv[1:]:
    try:
        hu = read_ct(path).hu
        print(hu.shape, int(hu.sum()))
    except CTReadError as error:
        print(error)
"""


def run(folder: str, missing: tuple[str, ...], *paths) -> list[str]:
    program = PROGRAM.format(folder=folder, missing=missing)
    done = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_nifti_file_is_read_without_isal_and_without_any_dicom_library(
    hu, affine, write_nifti, write_dicom, tmp_path
):
    import argus_processing

    folder, packed = argus_processing.__path__[0], write_nifti(hu, affine, name="scan.nii.gz")
    series = write_dicom(hu)
    whole = run(folder, (), packed, series)
    missing = run(folder, ("isal", "pydicom", "gdcm", "openjpeg", "libjpeg"), packed, series)
    assert (
        missing[0] == whole[0] and whole[0].endswith(f" {int(np.sum(hu))}") and whole[1].endswith(f" {int(np.sum(hu))}")
    )
    assert missing[1] == f"{series}: DICOM needs the package pydicom; pip install pydicom"
    damaged = tmp_path / "damaged.nii.gz"
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    assert run(folder, ("isal",), damaged) == run(folder, (), damaged)
