"""List the preprocessing that belongs to each vision tower, as settings of `ArgusImageProcessor`."""

from typing import Any

# CT2Rep sees 360 mm along every axis (240 slices of 1.5 mm, 480 x 480 voxels of 0.75 mm), with any grid.
CT2REP_FIELD_MM = 360.0


def argus_settings(image_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return Argus's settings, the image processor's defaults: HU window, the paper's resampling (section 3.2)."""
    return {"image_size": image_size}


def m3d_settings(image_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return M3D's settings: scale the scan's own range to [0, 1], crop to its foreground, resize (as for M3D-Cap).

    M3D resizes by areas; the anti-aliased resampling is the closest one here.
    """
    return {"image_size": image_size, "normalization": "min_max", "crop": "foreground", "resampling": "direct"}


def radfm_settings(image_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return RadFM's settings: scale the scan's own range to [0, 1], resize; the tower makes three channels itself."""
    return {"image_size": image_size, "normalization": "min_max", "resampling": "direct"}


def ct2rep_settings(image_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return CT2Rep's settings: clip to [-1000, 200] HU, (HU + 400) / 600, resample to a spacing, crop or pad with -1.

    The published spacing is 1.5 x 0.75 x 0.75 mm; smaller grids keep the field of view and use a coarser spacing.
    """
    return {
        "image_size": image_size,
        "hu_window": (-1000.0, 200.0),
        "value_range": (-1.0, 1.0),
        "resampling": "crop_or_pad",
        "target_spacing_mm": tuple(CT2REP_FIELD_MM / side for side in image_size),
    }


TOWER_SETTINGS = {"argus": argus_settings, "m3d": m3d_settings, "radfm": radfm_settings, "ct2rep": ct2rep_settings}


def body_settings(image_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return the paper's settings after a crop to the body: where it lies in the field of view does not matter then."""
    return argus_settings(image_size) | {"crop": "body"}


# "own" is what a tower's own system does, "paper" what the Argus paper does to every scan (section 3.2), "body"
# the same after a crop to the body.
PREPROCESSINGS = ("own", "paper", "body")


def preprocessing_settings(tower: str, image_size: tuple[int, int, int], preprocessing: str = "own") -> dict[str, Any]:
    """Return the settings of `ArgusImageProcessor` for a tower's grid: those of its own system, or the
    paper's, with or without a crop to the body.

    Raises:
        ValueError: if there is no such preprocessing.
    """
    if preprocessing not in PREPROCESSINGS:
        raise ValueError(f"unknown preprocessing {preprocessing!r}; known: {', '.join(PREPROCESSINGS)}")
    given = {"own": TOWER_SETTINGS[tower], "paper": argus_settings, "body": body_settings}
    return given[preprocessing](image_size)
