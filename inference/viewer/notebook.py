"""Show a report in a notebook: as HTML with a picture of its scan, and as an ipyniivue view with a map."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from argus_processing.ct_volume import CTVolume
from argus_processing.read_ct import read_ct

from ..evidence.evidence import Evidence, SentenceEvidence
from ..evidence.evidence_files import LIMITS
from ..evidence.evidence_picture import LEAST_SHOWN
from ..preview import NOTICE, choose_window, draw_planes
from .scan_image import density_image, map_image, scan_image
from .viewed_report import read_viewed_report

HEIGHT = 400
CROSSHAIR_COLOR = (0.36, 0.72, 1.0, 1.0)
NEEDED = "showing a scan in a notebook needs ipyniivue: pip install '.[notebook]'"


def report_html(report: str, warnings: tuple[str, ...], scan: Path) -> str:
    """Return a report as HTML that holds everything it shows: text, warnings, and the scan's three middle planes.

    Args:
        report: its text.
        warnings: that came with it.
        scan: file or folder of the scan; where it cannot be read, the picture is left out.
    """
    lines = [f"<p style='color: #b45309; margin: 4px 0'>Warning: {escape(told)}.</p>" for told in warnings]
    return (
        f"<div style='max-width: 900px'>{_picture(scan)}"
        f"<p style='white-space: pre-wrap; margin: 8px 0'>{escape(report) or '(this report is empty)'}</p>"
        f"{''.join(lines)}<p style='color: #6b7280; font-size: 85%; margin: 4px 0'>{escape(NOTICE)}</p></div>"
    )


def _picture(scan: Path) -> str:
    try:
        picture = draw_planes(read_ct(scan))
    except (OSError, ValueError, EOFError):
        return "<p style='color: #6b7280'>The scan is not there for a picture.</p>"
    content = base64.b64encode(picture).decode()
    return f"<img alt='middle slices of the scan' style='width: 100%' src='data:image/png;base64,{content}'>"


def show_scan(scan: Path, evidence: Evidence | Path | None = None, sentence: int | None = None) -> Any:
    """Return a view of a scan in three planes: with evidence, a sentence and its limits above, its map over the scan.

    It is a box of ipywidgets, whose last child is the ipyniivue view. The crosshair is at the peak of the map.

    Args:
        scan: file or folder of the scan.
        evidence: of a report of this scan, or the folder that `argus report --evidence` wrote. Default: no map.
        sentence: which sentence's map, counted from 1. Default: the one with the most support.

    Raises:
        ValueError: if ipyniivue is not installed, the sentence has no map, or the maps are not of this scan.
    """
    try:
        from ipyniivue import NiiVue, ShowRender
        from ipywidgets import HTML, VBox
    except ModuleNotFoundError:
        raise ValueError(NEEDED) from None
    volume = read_ct(scan)
    window = choose_window(volume.hu)
    low, high = window.level - window.width / 2, window.level + window.width / 2
    shown = {"data": scan_image(volume), "name": "scan.nii", "colormap": "gray", "cal_min": low, "cal_max": high}
    view = NiiVue(
        height=HEIGHT,
        is_radiological_convention=True,
        sagittal_nose_left=True,
        is_force_mouse_click_to_voxel_centers=True,
        drag_and_drop_enabled=False,
        # In 3D the windows that planes need show a block of fog.
        multiplanar_show_render=ShowRender.NEVER,
        crosshair_width=1.0,
        crosshair_width_unit="mm",
        crosshair_gap=12.0,
        crosshair_color=CROSSHAIR_COLOR,
        log_level="error",
    )
    if evidence is None:
        view.load_volumes([shown])
        return VBox([view])
    chosen = _chosen(_maps_of(evidence, volume), sentence)
    laid_over = {"data": chosen.image(), "name": "map.nii", "colormap": "inferno", "opacity": 0.5}
    view.load_volumes([shown, laid_over | {"cal_min": LEAST_SHOWN, "cal_max": 1.0}])
    view.scene.crosshair_pos = crosshair_at(chosen.peak_mm, volume)
    return VBox([HTML(_caption(chosen)), view])


def _caption(shown: "_PlacedMap") -> str:
    told = f"Support {shown.support:.1f} nats; the crosshair is at the peak of the map. {LIMITS} {NOTICE}"
    return (
        f"<div style='line-height: 1.5'><b>{escape(shown.text)}</b><br>"
        f"<span style='color: #6b7280; font-size: 85%'>{escape(told)}</span></div>"
    )


def crosshair_at(place_mm: tuple[float, float, float], volume: CTVolume) -> list[float]:
    """Return a place as niivue's fractions of the scan, which rise to the patient's right, front and head."""
    depth, row, column = (np.linalg.inv(volume.affine) @ [*place_mm, 1.0])[:3]
    slices, rows, columns = volume.hu.shape
    return [float(1 - (column + 0.5) / columns), float(1 - (row + 0.5) / rows), float((depth + 0.5) / slices)]


@dataclass(frozen=True)
class _PlacedMap:
    """The map of a sentence: its text, support in nats, peak in RAS+ mm, and what makes its NIfTI file."""

    text: str
    support: float
    peak_mm: tuple[float, float, float]
    image: Callable[[], bytes]


def _chosen(maps: Sequence[_PlacedMap | str], sentence: int | None) -> _PlacedMap:
    """Return the map of a sentence, counted from 1, or that with the most support; a text tells why there is none."""
    if sentence is None:
        placed = [each for each in maps if isinstance(each, _PlacedMap)]
        if not placed:
            raise ValueError("no sentence of this report has a map")
        return max(placed, key=lambda each: each.support)
    if not 0 < sentence <= len(maps):
        raise ValueError(f"there is no sentence {sentence}, the report has {len(maps)}")
    found = maps[sentence - 1]
    if isinstance(found, str):
        raise ValueError(f"sentence {sentence} has no map: {found}")
    return found


def _maps_of(evidence: Evidence | Path, volume: CTVolume) -> list[_PlacedMap | str]:
    """Return the map of each sentence, or why it has none."""
    if isinstance(evidence, Evidence):
        return [_of_sentence(each, evidence, volume) for each in evidence.sentences]
    report = read_viewed_report(Path(evidence))
    report.check_scan(volume)
    return [
        _PlacedMap(
            report.report[each.start : each.end],
            each.support or 0.0,
            each.peak_mm,
            partial(map_image, each.map, volume),
        )
        if each.map and each.peak_mm
        else each.reason
        for each in report.sentences
    ]


def _of_sentence(sentence: SentenceEvidence, evidence: Evidence, volume: CTVolume) -> _PlacedMap | str:
    values = evidence.map_of(sentence)
    if values is None or sentence.peak is None:
        return sentence.reason
    support, place = sentence.support or 0.0, sentence.peak.patient_mm
    return _PlacedMap(sentence.text, support, place, partial(density_image, values, volume))
