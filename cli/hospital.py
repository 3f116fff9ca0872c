"""Run the commands for a hospital's studies: `argus series`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import quiet

SeriesOption = Annotated[
    str | None,
    typer.Option("--series", help="UID of the series to read. Default: the chest CT that `argus series` chooses."),
]
PreferencesOption = Annotated[
    Path | None, typer.Option("--preferences", help="YAML with a site's preferences for the choice of a series.")
]
app = typer.Typer()


@app.command(rich_help_panel="In a hospital")
def series(
    folder: Annotated[Path, typer.Argument(help="Folder with the DICOM files of one study.")],
    preferences: PreferencesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per series.")] = False,
) -> None:
    """Choose the chest CT of a study, and tell why the other series are not read; exit code 2 if none fits."""
    quiet()
    from .series import print_choice

    raise typer.Exit(0 if print_choice(folder, preferences, as_json) else 2)
