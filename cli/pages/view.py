"""Run `argus view`: read a report and its scan, and serve the page that shows them."""

import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argus_hospital.series.site_preferences import load_preferences
from argus_inference.viewer.niivue_file import niivue_script
from argus_inference.viewer.view_server import View, serve_view
from argus_inference.viewer.viewed_report import read_viewed_report
from argus_processing.read_ct import read_ct

from ..hospital.series import opened_scans


@dataclass(frozen=True)
class ViewRequest:
    """The options of `argus view`."""

    report: Path
    scan: Path | None
    series: str | None
    preferences: Path | None
    port: int
    browser: bool


def run(request: ViewRequest, say: Callable[[str], None]) -> None:
    """Serve the page until interrupted.

    Raises:
        ValueError, OSError: if niivue is not built, the report or the scan cannot be read, or the address is in use.
    """
    niivue_script()
    report = read_viewed_report(request.report)
    path = report.scan_path(request.scan)
    with opened_scans([path], request.series, load_preferences(request.preferences), say) as (scan,):
        if scan.refusal:
            raise ValueError(scan.refusal)
        volume = read_ct(scan.path)
    report.check_scan(volume)
    serve_view(View(report, volume), request.port, say, webbrowser.open if request.browser else lambda address: None)
