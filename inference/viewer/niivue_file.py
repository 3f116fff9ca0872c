"""Find niivue, the library that draws scans in a browser, which `make viewer` puts into the package."""

from pathlib import Path

FOLDER = Path(__file__).parent / "niivue"
SCRIPT = FOLDER / "niivue.js"
HOW = "run `make viewer` in a clone, or `python -m argus_inference.viewer.build_niivue` anywhere"


def niivue_script() -> Path:
    """Return niivue's file.

    Raises:
        ValueError: if it was not built into this installation; the message says how.
    """
    if not SCRIPT.is_file():
        raise ValueError(f"niivue, which draws the scan, is not in this installation; {HOW}")
    return SCRIPT
