"""Run the commands of the benchmark: `argus evaluate`, `compare`, the tables, the reader study, `ablate`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from argus_inference.console.interruption import signals_as_usual

from .evaluate import (
    ChosenFloors,
    ChosenScans,
    check_evidence,
    check_stored,
    chosen_engine,
    chosen_metrics,
    evaluate_scans,
    measure_evidence,
    score_again,
)
from .options import (
    NOTICE,
    AdapterOption,
    AllowedHostOption,
    AnonymousOption,
    BatchOption,
    BitsOption,
    ClinicalJudgeOption,
    DeviceMapOption,
    DtypeOption,
    EngineOption,
    EngineOptionsOption,
    LlmOption,
    StaticOption,
    TokensOption,
    TrustOption,
    check_engine,
    check_llm,
    path_names,
    quiet,
    say,
    tell,
)

app = typer.Typer()
DataDirOption = Annotated[Path | None, typer.Option(help="Folder of the prepared data; not needed for phantom.")]
PhantomLabelsOption = Annotated[
    list[str] | None, typer.Option("--label", help="Label that phantoms may have; repeatable. Default: all 18.")
]
PhantomSeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the phantoms (phantom only).")]
ClinicalOption = Annotated[
    str,
    typer.Option(
        help="Clinical metrics, comma-separated: labels (CT-RATE's 18, F1 and CRG); radgraph, green, rate (each needs "
        "a model); crimson, radmatch (each asks a chat model); radeval, radeval-models (each in RadEval's own Python); "
        "stand-in, marked as one."
    ),
]
ClinicalModelsOption = Annotated[Path | None, typer.Option(help="Folder with one folder for each of their models.")]
ClinicalDownloadOption = Annotated[bool, typer.Option("--clinical-download", help="Fetch their models from the Hub.")]
ClinicalAnswersOption = Annotated[
    Path | None, typer.Option(help="File that keeps their answers, to share it between runs. Default: a file in OUT.")
]
GreenCompatOption = Annotated[
    bool, typer.Option("--green-compat", help="Cut reports at 300 words, as GREEN's published code does.")
]
RateBackend = Literal["argus", "package"]
RateBackendOption = Annotated[
    RateBackend, typer.Option(help="Implementation of RaTEScore: Argus's, or its authors' own package.")
]
RadEvalPythonOption = Annotated[
    Path | None, typer.Option("--radeval-python", help="Interpreter of the environment that has RadEval.")
]
LabelBackendOption = Annotated[
    Literal["rules", "radbert"], typer.Option(help="Reader of CT-RATE's labels: rules, or CT-CLIP's classifier.")
]
FloorsOption = Annotated[
    str,
    typer.Option(
        help="Floors, comma-separated: normal, most_frequent, blank, shuffled; label_to_text and nearest read the "
        "training scans once; all. Default: those that read no training scan."
    ),
]
FeaturesOption = Annotated[
    Path | None,
    typer.Option("--floor-features", help="File that keeps the training scans' features. Default: a file in OUT."),
]
FloorScansOption = Annotated[
    int | None, typer.Option("--floor-scans", min=1, help="Training scans for the floors, drawn. Default: all.")
]
FLIPOption = Annotated[
    Path | None,
    typer.Option("--flip", help="Folder of a run of FLIP: also the floor of reports that are nearest in its space."),
]
TestSetOption = Annotated[
    Path | None,
    typer.Option("--test-set", help="Score only these scans: test_set.json of an evaluation, or one id a line."),
]
Subset = Literal["phantom", "all", "ct-rate", "bimcv-r", "inspect"]
Split = Literal["train", "validation", "test"]
Findings = Literal["rules", "radgraph", "green"]
SystemsOption = Annotated[
    list[str] | None,
    typer.Option("--system", help="Take only this system of the file, such as 'Argus-8B nr'; repeatable."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="YAML file that names the system of each evaluation.")]


@app.command(rich_help_panel="Evaluation")
def evaluate(
    out: Annotated[Path, typer.Argument(help="Folder for predictions and results; a second start continues there.")],
    model: Annotated[Path | None, typer.Option("--model", help="Folder of a saved model.")] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Check the numbers in OUT with its stored reports; needs no model.")
    ] = False,
    stored: Annotated[
        Path | None,
        typer.Option("--stored", help="Score the stored reports of this evaluation again, into OUT; needs no model."),
    ] = None,
    subset: Annotated[Subset, typer.Option(help="Subset of CT-3DRRG.")] = "phantom",
    split: Annotated[Split, typer.Option(help="Split of the subset.")] = "test",
    instruction: Annotated[str | None, typer.Option(help="Instruction for every scan. Default: the paper's.")] = None,
    data_dir: DataDirOption = None,
    num_phantoms: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Number of phantoms in train, validation and test (phantom only)."),
    ] = None,
    seed: PhantomSeedOption = None,
    label: PhantomLabelsOption = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Evaluate only this many scans, from the start.")] = None,
    max_new_tokens: TokensOption = 1024,
    batch_size: BatchOption = 4,
    volume_cache: Annotated[
        Path | None, typer.Option(help="Folder of preprocessed volumes, as `argus cache` fills it; read and added to.")
    ] = None,
    engine: EngineOption = "transformers",
    engine_option: EngineOptionsOption = None,
    adapter: AdapterOption = None,
    llm: LlmOption = None,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
    clinical: ClinicalOption = "",
    clinical_models: ClinicalModelsOption = None,
    clinical_download: ClinicalDownloadOption = False,
    clinical_answers: ClinicalAnswersOption = None,
    green_compat: GreenCompatOption = False,
    rate_backend: RateBackendOption = "argus",
    label_backend: LabelBackendOption = "rules",
    clinical_judge: ClinicalJudgeOption = None,
    radeval_python: RadEvalPythonOption = None,
    floors: FloorsOption = "",
    floor_features: FeaturesOption = None,
    floor_scans: FloorScansOption = None,
    flip: FLIPOption = None,
    test_set: TestSetOption = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Also measure where maps of evidence point (phantoms, or with a table).")
    ] = False,
    evidence_masks: Annotated[
        Path | None, typer.Option(help="Table of findings and masks to measure maps on: scan, sentence, mask (CSV).")
    ] = None,
    anonymous_paths: AnonymousOption = False,
) -> None:
    """Generate a split's reports, score them and the floors, and print the tables.

    Exit code 2 means that a scan could not be read; such a scan is left out of every score and named. The results hold
    the data set's scan ids; if an id holds a patient's name, so do the results, unless --anonymous-paths is given.
    Several processes share the scans: `torchrun --nproc-per-node 8 -m argus_cli evaluate ...`, also on several
    machines.
    """
    if (model is not None) + recompute + (stored is not None) != 1:
        raise ValueError(
            "give either --model, to evaluate it, or --recompute, to check what OUT holds, or --stored, to score again"
        )
    metrics = partial(
        chosen_metrics,
        *(clinical, stored or out, clinical_models, clinical_answers),
        download=clinical_download,
        green_compat=green_compat,
        rate_backend=rate_backend,
        label_backend=label_backend,
        judge=clinical_judge,
        radeval_python=radeval_python,
    )
    if recompute:
        raise typer.Exit(check_stored(out, metrics()))
    if stored is not None:
        score_again(stored, out, metrics(), test_set)
        return
    from argus_inference.model_folder import Loading, check_model_folder

    if model is None:
        raise ValueError("--model names the model to evaluate")
    loading = Loading(dtype, bits, static_cache, trust_remote_code, device_map)
    check_model_folder(model, trust_remote_code)
    check_evidence(evidence, evidence_masks, subset)
    check_engine(engine, engine_option, adapter)
    check_llm(llm, loading, evidence or evidence_masks is not None)
    quiet()
    phantoms = _phantom_options(subset, num_phantoms, seed, label)
    scans = ChosenScans(subset, split, data_dir, phantoms, test_set, limit, path_names(anonymous_paths))
    given = {} if instruction is None else {"instruction": instruction}
    results = evaluate_scans(
        model,
        scans,
        out,
        metrics,
        ChosenFloors(floors, floor_features, floor_scans, flip),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        loading=loading,
        volume_cache=volume_cache,
        engine=chosen_engine(engine, loading, adapter, engine_option or (), max_new_tokens, llm),
        **given,
    )
    if evidence or evidence_masks is not None:
        measure_evidence(model, out, loading, evidence_masks, split, phantoms, limit)
    raise typer.Exit(2 if results.unreadable else 0)


@app.command(rich_help_panel="Evaluation")
def compare(
    first: Annotated[Path, typer.Argument(help="Folder that argus evaluate wrote.")],
    second: Annotated[Path, typer.Argument(help="Another such folder, for the same scans.")],
    out: Annotated[Path | None, typer.Option(help="Also write the comparison to this JSON file.")] = None,
    clinical: ClinicalOption = "",
    clinical_models: ClinicalModelsOption = None,
    clinical_download: ClinicalDownloadOption = False,
    clinical_answers: ClinicalAnswersOption = None,
    green_compat: GreenCompatOption = False,
    rate_backend: RateBackendOption = "argus",
    label_backend: LabelBackendOption = "rules",
    clinical_judge: ClinicalJudgeOption = None,
    radeval_python: RadEvalPythonOption = None,
) -> None:
    """Compare two systems report by report with a paired test (approximate randomisation)."""
    from argus_evaluation.benchmark.compare import build_comparison, compare_runs
    from argus_inference.console.terminal import show
    from argus_processing.storage.typed_json import to_json
    from argus_processing.storage.whole_files import check_can_write, write_json

    if out is not None:
        check_can_write(out)
    metrics = chosen_metrics(
        *(clinical, first, clinical_models, clinical_answers),
        download=clinical_download,
        green_compat=green_compat,
        rate_backend=rate_backend,
        label_backend=label_backend,
        judge=clinical_judge,
        radeval_python=radeval_python,
    )
    compared = compare_runs(first, second, metrics)
    if out is not None:
        write_json(out, to_json(compared))
    show(build_comparison(compared))
    for name, reason in compared.missing.items():
        say(f"{name} is missing: {reason}")


@app.command(rich_help_panel="Evaluation")
def reader_study(
    out: Annotated[Path, typer.Argument(help="Folder of the study; a second start continues it.")],
    runs: RunsOption,
    data_dir: DataDirOption = None,
    num_phantoms: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Same values as given to argus evaluate (phantom only).")
    ] = None,
    seed: PhantomSeedOption = None,
    cases: Annotated[int, typer.Option(min=1, help="Number of cases drawn per subset, as in the paper.")] = 100,
    order_seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn cases and of every order.")] = 0,
    with_references: Annotated[
        bool, typer.Option("--with-references", help="Score the scans' own reports too, blinded.")
    ] = False,
    system: SystemsOption = None,
    without_page: Annotated[
        bool, typer.Option("--without-page", help="Only draw the cases into OUT, for a later start with readers.")
    ] = False,
    reader: Annotated[list[str] | None, typer.Option(help="Name of a reader; repeat it for each reader.")] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Default: only this machine; at any other, all readers with a link can connect."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8600,
    anonymous_paths: AnonymousOption = False,
    allowed_host: AllowedHostOption = None,
) -> None:
    """Serve a local page on which readers score blinded reports beside the CT."""
    quiet()
    from argus_evaluation.reader_study.study import StudyOptions

    from .pages import reader_study

    options = StudyOptions(order_seed, cases, with_references)
    if without_page:
        reader_study.draw(runs, out, options, say, system or ())
        return
    phantoms = _phantom_options("phantom", num_phantoms, seed)
    say(NOTICE)
    names = path_names(anonymous_paths)
    signals_as_usual()
    id_of = names.name if names else str
    other_hosts, systems = allowed_host or (), system or ()
    address = (host, port)
    reader_study.run(runs, out, options, data_dir, phantoms, address, say, id_of, reader or (), other_hosts, systems)


@app.command(rich_help_panel="Evaluation")
def table2(
    runs: Annotated[Path, typer.Argument(help="YAML file that names system, size and resolution of each evaluation.")],
    out: Annotated[Path, typer.Argument(help="Folder for table2 and metric_table, each as .md, .tex and .json.")],
) -> None:
    """Write Table 2 in the paper's layout, ours beside the paper's, and a table of all metrics, from result files.

    Missing numbers are marked, with the reason.
    """
    from argus_evaluation.benchmark.run_list import read_runs
    from argus_evaluation.tables.metric_table import build_metric_table
    from argus_evaluation.tables.metric_table_text import write_metric_table
    from argus_evaluation.tables.table2 import build_table2
    from argus_evaluation.tables.table2_terminal import terminal_tables
    from argus_evaluation.tables.table2_text import write_table2
    from argus_inference.console.terminal import show, show_lines

    named = read_runs(runs)
    table, metric_table = build_table2(named), build_metric_table(named)
    write_table2(table, out)
    write_metric_table(metric_table, out)
    shown, lines = terminal_tables(table)
    for each in shown:
        show(each)
    show_lines(lines)
    say(f"the whole table is {out / 'table2.md'}; all metrics with intervals are in {out / 'metric_table.md'}")


@app.command(rich_help_panel="Evaluation")
def compare_reports(
    source: Annotated[Path, typer.Argument(help="YAML file that names the system of each evaluation, or one folder.")],
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    scan: Annotated[
        list[str] | None, typer.Option(help="Id of a scan to show; repeatable. Default: the first scans.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of scans to show if no --scan is given.")] = 8,
    title: Annotated[str, typer.Option(help="Heading of the page. Default: the folder's name, or the subset.")] = "",
    subset: Annotated[str | None, typer.Option(help="Subset, if the file has runs of several.")] = None,
    system: SystemsOption = None,
    findings: Annotated[Findings, typer.Option(help="Metric that names the findings.")] = "rules",
    clinical_answers: Annotated[
        Path | None, typer.Option(help="File of RadGraph's and GREEN's answers. Default: a file in each folder.")
    ] = None,
) -> None:
    """Write a page with the systems' reports beside the truth; it marks right, wrong and missed findings."""
    from argus_evaluation.benchmark.report_comparison import write_comparison

    options = {"subset": subset, "systems": system or (), "findings": findings, "answers": clinical_answers}
    write_comparison(source, out, tuple(scan or ()), limit, title, **options)


@app.command(rich_help_panel="Evaluation")
def table4(
    study: Annotated[Path, typer.Argument(help="Folder of a reader study.")],
    out: Annotated[Path, typer.Argument(help="Folder for table4.md, .csv and .json.")],
) -> None:
    """Write Table 4: the readers' scores per system and subset beside the paper's, and their agreement."""
    from argus_evaluation.reader_study.table4_text import table4_markdown, write_table4

    tell(table4_markdown(write_table4(study, out)).rstrip("\n"))


@app.command(rich_help_panel="Evaluation")
def ablate(
    grid: Annotated[Path, typer.Argument(help="YAML file of the grid, such as training/recipes/ablations/demo.yaml.")],
    out: Annotated[Path, typer.Argument(help="Folder for results, table and figure; a second start continues there.")],
    base: Annotated[Path | None, typer.Option(help="Base recipe. Default: the one that the grid names.")] = None,
    steps: Annotated[
        Path | None, typer.Option(help="Folder of the trainings, to share between grids. Default: OUT/steps.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Folder of the scores, to share between grids. Default: OUT/scores.")
    ] = None,
    one: Annotated[
        str | None, typer.Option("--run", help="Score only this run, named as its folder of scores; no tables.")
    ] = None,
) -> None:
    """Train and score every cell of an ablation, and print its tables."""
    quiet()
    from argus_evaluation.ablations.ablation import run_ablation, score_run

    if one is None:
        run_ablation(grid, out, base, steps, scores)
    else:
        score_run(grid, out, one, base, steps, scores)


@app.command(rich_help_panel="Evaluation")
def reproduce(
    plan: Annotated[Path, typer.Argument(help="YAML file of the plan, such as training/recipes/paper/ct3drrg.yaml.")],
    out: Annotated[Path, typer.Argument(help="Folder of the reproduction; a second start continues there.")],
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Print every command, marked as done or left, and run nothing.")
    ] = False,
    gather: Annotated[
        bool, typer.Option("--gather", help="Only copy the tables and figures that are there to OUT.")
    ] = False,
) -> None:
    """Reproduce the paper: prepare, pretrain, train, score, and write its tables and figures."""
    if dry and gather:
        raise ValueError("give either --dry-run or --gather")
    quiet()
    from . import reproduce

    (reproduce.dry_run if dry else reproduce.put_in_place if gather else reproduce.run)(plan, out)


def _phantom_options(
    subset: str, num_phantoms: tuple[int, int, int] | None, seed: int | None, labels: list[str] | None = None
) -> dict[str, Any]:
    """Return the given phantom settings under the names of the data set's configuration."""
    options: dict[str, Any] = ({} if seed is None else {"seed": seed}) | ({"labels": labels} if labels else {})
    if num_phantoms is not None:
        options |= dict(zip(("num_train", "num_validation", "num_test"), num_phantoms, strict=True))
    if options and subset != "phantom":
        raise ValueError(f"--num-phantoms, --seed and --label belong to the subset phantom, not to {subset}")
    return options
