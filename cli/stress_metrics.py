"""Run `argus stress-metrics`: plant errors and harmless changes in reports, and tell which metric sees them."""

import time
from pathlib import Path
from typing import Annotated

import typer

from .benchmark import (
    ClinicalAnswersOption,
    ClinicalDownloadOption,
    ClinicalModelsOption,
    ClinicalOption,
    GreenCompatOption,
    LabelBackendOption,
    RadEvalPythonOption,
    RateBackendOption,
)
from .options import quiet, say, tell

app = typer.Typer()


@app.command(rich_help_panel="Evaluation")
def stress_metrics(
    out: Annotated[Path, typer.Argument(help="Folder for results, tables, figure and the changed reports.")],
    references: Annotated[
        Path | None,
        typer.Option(help="File of reports: .csv, .tsv, .jsonl or .parquet. Default: reports of phantoms."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of the report; repeat it to join several. Default: a usual name, such as 'report'."),
    ] = None,
    phantoms: Annotated[int | None, typer.Option(min=2, help="Number of phantoms, if no file is given: 500.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Number of changed reports in each class.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the changes and of the phantoms.")] = 0,
    clinical: ClinicalOption = "labels,stand-in",
    clinical_models: ClinicalModelsOption = None,
    clinical_download: ClinicalDownloadOption = False,
    clinical_answers: ClinicalAnswersOption = None,
    green_compat: GreenCompatOption = False,
    rate_backend: RateBackendOption = "argus",
    label_backend: LabelBackendOption = "rules",
    radeval_python: RadEvalPythonOption = None,
) -> None:
    """Test metrics: do they score reports with a planted error below those with a harmless change?"""
    started = time.monotonic()
    if references is not None and phantoms is not None:
        raise ValueError("give either --references or --phantoms")
    if column and references is None:
        raise ValueError("--column belongs to --references")
    quiet()
    from argus_evaluation.metrics.clinical.clinical_weights import ANSWERS, ClinicalOptions
    from argus_evaluation.stress.stress_references import phantom_references, read_references
    from argus_evaluation.stress.stress_run import run_stress
    from argus_evaluation.stress.stress_table import auc_table, scored_metrics, verdict_table
    from argus_inference.console.terminal import show

    options = ClinicalOptions(
        folder=clinical_models,
        answers=clinical_answers or out / ANSWERS,
        download=clinical_download,
        green_compat=green_compat,
        rate_backend=rate_backend,
        label_backend=label_backend,
        radeval_python=radeval_python,
    )
    chosen = (
        phantom_references(phantoms or 500, seed) if references is None else read_references(references, column or ())
    )
    if chosen.left_out:
        say(f"{chosen.left_out} reports are empty or equal to an earlier one and are left out")
    keys = [key for key in clinical.replace(" ", "").split(",") if key]
    results = run_stress(out, chosen, keys, options, pairs, seed, say, started)
    scored = scored_metrics(results)
    show(auc_table(scored, lambda result: result.within))
    show(verdict_table(scored))
    tell(f"{results.seconds:.0f} s; tables, figure and changed reports are in {out}")
