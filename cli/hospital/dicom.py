"""Write a report as the DICOM objects of its study, for `argus dicom`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argus_hospital.objects.report_content import load_report
from argus_hospital.objects.write_objects import ObjectChoice, write_objects
from argus_hospital.series.site_preferences import load_preferences
from argus_processing.storage.claimed_folders import check_new_folder

from .series import opened_scans


@dataclass(frozen=True)
class DicomRequest:
    """The options of `argus dicom`."""

    scan: Path
    report: Path
    out: Path
    model: Path | None
    series: str | None
    preferences: Path | None
    choice: ObjectChoice


def run(request: DicomRequest, say: Callable[[str], None]) -> tuple[Path, ...]:
    """Write the objects; return their files.

    Raises:
        ValueError, OSError: if an option, the scan or the report is refused.
    """
    if not request.scan.is_dir():
        raise ValueError(f"{request.scan}: a report returns to the study it came from; give a folder of DICOM files")
    if Path(os.path.realpath(request.scan)) in (target := Path(os.path.realpath(request.out)), *target.parents):
        raise ValueError(f"{request.out}: lies in the scan {request.scan}; give a folder outside of it")
    report = load_report(request.report, request.model)
    preferences = load_preferences(request.preferences)
    series = request.series or report.series  # that of the report, where it tells it
    with opened_scans([request.scan], series, preferences, say) as (scan,):
        if scan.refusal:
            raise ValueError(scan.refusal)
        check_new_folder(request.out)
        try:
            written = write_objects(scan.path, report, request.out, request.choice)
        except ValueError as error:
            raise ValueError(str(error).replace(str(scan.path), str(scan.given))) from None
    if written.emptied:
        say(f"left empty, because the standard does not allow the value: {', '.join(written.emptied)}")
    return written.paths
