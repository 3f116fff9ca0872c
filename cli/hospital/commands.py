"""Run the commands for a hospital's studies: `argus series`, `dicom`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..options import say, tell

SeriesOption = Annotated[
    str | None,
    typer.Option("--series", help="UID of the series to read. Default: the chest CT that `argus series` chooses."),
]
PreferencesOption = Annotated[
    Path | None, typer.Option("--preferences", help="YAML with a site's preferences for the choice of a series.")
]
# The library holds the list too, but takes too long to import for --help; a test compares them.
Structured = Literal["comprehensive", "basic"]
app = typer.Typer()


@app.command(rich_help_panel="In a hospital")
def series(
    folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.")],
    preferences: PreferencesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per series.")] = False,
) -> None:
    """Choose the chest CT of a study, and tell why the other series are not read; exit code 2 if none fits."""
    from .series import print_choice

    raise typer.Exit(0 if print_choice(folder, preferences, as_json) else 2)


@app.command(rich_help_panel="In a hospital")
def dicom(
    scan: Annotated[Path, typer.Argument(help="Folder with the DICOM files of the study or series that was read.")],
    report: Annotated[Path, typer.Argument(help="Report as text, or one line of `argus report --json`.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    model: Annotated[Path | None, typer.Option(help="Folder of the model; needed if REPORT is text.")] = None,
    series_uid: SeriesOption = None,
    preferences: PreferencesOption = None,
    sr: Annotated[Structured, typer.Option(help="Kind of the structured report: TID 1500, or text only.")] = (
        "comprehensive"
    ),
    evidence: Annotated[
        Path | None, typer.Option(help="Folder that `argus report --evidence` wrote, or a NIfTI map.")
    ] = None,
    fhir: Annotated[bool, typer.Option("--fhir", help="Also write a FHIR DiagnosticReport.")] = False,
) -> None:
    """Write a report as DICOM objects of its study: structured report, PDF, evidence. No network.

    Every object says that it is machine-written, unverified and for research only.
    """
    try:
        from argus_hospital.objects.write_objects import ObjectChoice

        from .dicom import DicomRequest, run
    except ModuleNotFoundError as error:
        raise ValueError(f"argus dicom needs {error.name}: pip install '.[hospital]'") from None
    choice = ObjectChoice(sr, evidence, fhir)
    for path in run(DicomRequest(scan, report, out, model, series_uid, preferences, choice), say):
        tell(str(path))
