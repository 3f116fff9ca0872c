"""The console command `argus`: a thin layer over the public functions.

Heavy libraries are imported inside the commands, so that `argus --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .metric import Metric

app = typer.Typer(
    name="argus",
    help="Radiology reports from 3D CT. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
NOTICE = "Argus is research software, not a medical device: do not base care on its reports."
USER_ERRORS = (ValueError, OSError)

ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a saved model.")]
TokensOption = Annotated[int, typer.Option(min=1, help="Where a report is cut; a cut report is flagged.")]
ClinicalOption = Annotated[str, typer.Option(help="Metrics with a model: radgraph, green, rate; comma-separated.")]
ClinicalModelsOption = Annotated[Path | None, typer.Option(help="Folder with a folder for each of their models.")]
ClinicalDownloadOption = Annotated[bool, typer.Option("--clinical-download", help="Fetch them from the Hub.")]
ClinicalAnswersOption = Annotated[
    Path | None, typer.Option(help="File that keeps their answers, for several runs; OUT has one otherwise.")
]
GreenCompatOption = Annotated[bool, typer.Option("--green-compat", help="Cut reports at 300 words, as published.")]
RunsOption = Annotated[Path, typer.Option("--runs", help="YAML that says which evaluation is which system.")]
DtypeOption = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; by the device without it.")]
BitsOption = Annotated[int | None, typer.Option(help="8 or 4: the language model's weights in so many bits.")]
StaticOption = Annotated[bool, typer.Option("--static-cache", help="Fixed key-value cache; compiled on a GPU.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Scans generated at a time.")]


def main() -> None:
    """Run the command; what a user can put right ends in one line on stderr and exit code 2.

    With ARGUS_DEBUG set in the environment the traceback is shown.
    """
    try:
        app()
    except BrokenPipeError:
        # The reader of stdout went away (`argus report ... | head`); nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except USER_ERRORS as error:
        if os.environ.get("ARGUS_DEBUG"):
            raise
        from .report import one_line

        _say(one_line(error))
        sys.exit(2)


@app.command()
def report(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN...", help=".nii, .nii.gz or a DICOM folder.")],
    model: ModelOption,
    out: Annotated[Path | None, typer.Option(help="Also write the output to this file, whole or not at all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, one line a scan.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the words as they come.")] = False,
    preview: Annotated[Path | None, typer.Option(help="Save a PNG of the scan with its report.")] = None,
    max_new_tokens: TokensOption = 1024,
    batch_size: BatchOption = 1,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
) -> None:
    """Write the report of one scan or several; exit code 2 if any could not be read."""
    from . import report_command
    from .model_folder import Loading

    loading = Loading(dtype, bits, static_cache)
    _say(NOTICE)
    _quiet()
    report_command.check_options(scans, out, as_json, stream, preview)
    style = report_command.choose_style(as_json, stream)
    all_read = report_command.run(scans, model, style, out, preview, max_new_tokens, batch_size, _say, loading)
    raise typer.Exit(0 if all_read else 2)


@app.command()
def evaluate(
    out: Annotated[Path, typer.Argument(help="Folder for predictions and results; a second start continues in it.")],
    model: Annotated[Path | None, typer.Option("--model", help="Folder of a saved model.")] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Check the numbers in OUT from its stored reports; needs no model.")
    ] = False,
    subset: Annotated[str, typer.Option(help="Subset of CT-3DRRG.")] = "phantom",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the prepared data; phantom needs none.")] = None,
    num_phantoms: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Phantoms in train, validation and test (phantom only).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the phantoms (phantom only).")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Evaluate on the first scans only.")] = None,
    max_new_tokens: TokensOption = 1024,
    batch_size: BatchOption = 4,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    clinical: ClinicalOption = "",
    clinical_models: ClinicalModelsOption = None,
    clinical_download: ClinicalDownloadOption = False,
    clinical_answers: ClinicalAnswersOption = None,
    green_compat: GreenCompatOption = False,
) -> None:
    """Generate a split's reports, score them beside their controls, and print the table."""
    if (model is None) != recompute:
        raise ValueError("give either --model, to evaluate it, or --recompute, to check what OUT holds")
    if model is None:
        metrics = _metrics(clinical, clinical_models, clinical_download, clinical_answers, green_compat, out)
        raise typer.Exit(_recompute(out, metrics))
    from .model_folder import Loading, check_model_folder

    loading = Loading(dtype, bits, static_cache)
    check_model_folder(model)
    _quiet()
    metrics = _metrics(clinical, clinical_models, clinical_download, clinical_answers, green_compat, out)
    from rich.console import Console

    from .benchmark import evaluate_model
    from .results_table import build_table, signature_lines
    from .splits import load_split, load_train_reports

    options = _phantom_options(subset, num_phantoms, seed)
    dataset = load_split(subset, split, data_dir, options, limit)
    train_reports = load_train_reports(subset, data_dir, options)
    results = evaluate_model(
        model,
        dataset,
        train_reports,
        out,
        subset=subset,
        split=split,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        metrics=metrics,
        loading=loading,
    )
    Console().print(build_table(results))
    print(*signature_lines(results), sep="\n")


def _metrics(
    clinical: str, models: Path | None, download: bool, answers: Path | None, green_compat: bool, folder: Path
) -> "dict[str, Metric]":
    """Return the metrics to compute, and say at once which of those asked for cannot be."""
    from .clinical_metrics import clinical_metrics
    from .clinical_weights import ANSWERS, ClinicalOptions
    from .nlp_metrics import METRICS

    keys = [key for key in clinical.replace(" ", "").split(",") if key]
    options = ClinicalOptions(
        folder=models, answers=answers or folder / ANSWERS, download=download, green_compat=green_compat
    )
    asked = clinical_metrics(keys, options)
    for name, metric in asked.items():
        if reason := metric.missing():
            _say(f"{name} is missing: {reason}")
    return METRICS | asked


def _recompute(out: Path, metrics: "dict[str, Metric]") -> int:
    """Compute a stored evaluation again and say what differs; returns the exit code."""
    from rich.console import Console

    from .recompute import recompute
    from .results_table import build_table, signature_lines

    done = recompute(out, metrics)
    Console().print(build_table(done.results))
    print(*signature_lines(done.results), sep="\n")
    for line in done.not_checked:
        _say(f"not checked: {line}")
    for line in done.differences:
        _say(f"differs: {line}")
    print(f"{len(done.differences)} differences from {out / 'results.json'}")
    return 2 if done.differences else 0


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder that argus evaluate wrote.")],
    second: Annotated[Path, typer.Argument(help="Another, of the same scans.")],
    out: Annotated[Path | None, typer.Option(help="Also write the comparison to this JSON file.")] = None,
    clinical: ClinicalOption = "",
    clinical_models: ClinicalModelsOption = None,
    clinical_download: ClinicalDownloadOption = False,
    clinical_answers: ClinicalAnswersOption = None,
    green_compat: GreenCompatOption = False,
) -> None:
    """Test two systems against each other, report by report (paired approximate randomisation)."""
    from rich.console import Console

    from .compare import build_comparison, compare_runs
    from .files import check_can_write, write_json

    if out is not None:
        check_can_write(out)
    metrics = _metrics(clinical, clinical_models, clinical_download, clinical_answers, green_compat, first)
    compared = compare_runs(first, second, metrics)
    if out is not None:
        write_json(out, compared)
    Console().print(build_comparison(compared))
    for name, reason in compared["missing"].items():
        _say(f"{name} is missing: {reason}")


@app.command()
def reader_study(
    out: Annotated[Path, typer.Argument(help="Folder of the study; a second start goes on with it.")],
    runs: RunsOption,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the prepared data; phantom needs none.")] = None,
    num_phantoms: Annotated[
        tuple[int, int, int] | None, typer.Option(help="As argus evaluate was given them (phantom only).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the phantoms (phantom only).")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="Cases drawn of each subset; all when not given.")] = None,
    order_seed: Annotated[int, typer.Option(min=0, help="Of the drawn cases and of every order.")] = 0,
    with_references: Annotated[bool, typer.Option(help="Read the scans' own reports too, blinded.")] = False,
    host: Annotated[str, typer.Option(help="Another address lets others in, without a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8600,
) -> None:
    """Serve a local page on which readers score blinded reports beside the CT."""
    _quiet()
    from . import reader_command

    options = {"seed": order_seed, "cases_per_subset": cases, "with_references": with_references}
    phantoms = _phantom_options("phantom", num_phantoms, seed)
    _say(NOTICE)
    reader_command.run(runs, out, options, data_dir, phantoms, (host, port), _say)


@app.command()
def table2(
    runs: Annotated[Path, typer.Argument(help="YAML that says which evaluation is which system.")],
    out: Annotated[Path, typer.Argument(help="Folder for table2.md, .tex and .json.")],
) -> None:
    """Write Table 2 of the paper out of result files: what is missing is shown as missing, with the reason."""
    from .run_list import read_runs
    from .table2 import build_table2
    from .table2_text import table2_markdown, write_table2

    table = build_table2(read_runs(runs))
    write_table2(table, out)
    print(table2_markdown(table), end="")


@app.command()
def compare_reports(
    folder: Annotated[Path, typer.Argument(help="Folder written by argus evaluate.")],
    out: Annotated[Path, typer.Argument(help="HTML file to write.")],
    scan: Annotated[list[str] | None, typer.Option(help="Scan to show; the first ones when none is named.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many when none is named.")] = 8,
    title: Annotated[str, typer.Option(help="What the page calls the system; the folder's name if not given.")] = "",
) -> None:
    """Write references and reports side by side, with matched, missed and invented findings marked."""
    from .report_comparison import write_comparison

    write_comparison(folder, out, tuple(scan or ()), limit, title)


@app.command()
def table4(
    study: Annotated[Path, typer.Argument(help="Folder of a reader study.")],
    out: Annotated[Path, typer.Argument(help="Folder for table4.md, .csv and .json.")],
) -> None:
    """Write Table 4 of the paper: the readers' scores per system and subset, and how far they agree."""
    from .table4 import table4_markdown, write_table4

    print(table4_markdown(write_table4(study, out)), end="")


@app.command()
def serve(
    model: ModelOption,
    scans: Annotated[Path | None, typer.Option(help="Folder whose scans may be asked for by file:// address.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
) -> None:
    """Answer OpenAI's chat completions with the report of a CT, streamed."""
    try:
        from .serve import serve_model
    except ImportError:
        raise ValueError("argus serve needs starlette and uvicorn: pip install 'argus-ct[serve]'") from None
    from .model_folder import Loading

    _say(NOTICE)
    _quiet()
    serve_model(model, scans, host, port, Loading(dtype, bits, static_cache), _say)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    layout: Annotated[str, typer.Option(help="ct-rate, bimcv-r or inspect.")] = "ct-rate",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of scans.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 0,
) -> None:
    """Write synthetic chest CTs with reports, in a source's own layout."""
    from argus_processing.phantom_layouts import write_layout

    write_layout(out, layout, n, seed)


@app.command()
def prepare(
    out: Annotated[Path, typer.Argument(help="Folder to write; a second start continues in it.")],
    ct_rate: Annotated[Path | None, typer.Option(help="Folder of the CT-RATE download.")] = None,
    bimcv_r: Annotated[Path | None, typer.Option(help="Folder of the BIMCV-R download.")] = None,
    inspect: Annotated[Path | None, typer.Option(help="Folder of the INSPECT download.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Volumes read at a time.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray on a cluster.")] = "local",
    embed_volumes: Annotated[bool, typer.Option(help="Put the volumes into the Parquet files.")] = False,
    decisions: Annotated[Path | None, typer.Option(help="Follow the published decisions in this folder.")] = None,
    columns: Annotated[Path | None, typer.Option(help="YAML of column names other than the known ones.")] = None,
    judge: Annotated[str | None, typer.Option(help="Chat model (folder or id), instead of the rules.")] = None,
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible address that serves --judge.")] = None,
) -> None:
    """Curate CT-3DRRG from the downloads; exit code 2 if a volume or row could not be used."""
    from argus_processing.source_registry import read_columns

    from . import prepare_command

    _quiet()
    roots = {"ct-rate": ct_rate, "bimcv-r": bimcv_r, "inspect": inspect}
    options = {"workers": workers, "engine": engine, "with_volumes": embed_volumes, "decisions": decisions}
    if columns:
        options["columns"] = read_columns(columns)
    sound = prepare_command.run(
        {name: root for name, root in roots.items() if root}, out, options, judge, judge_url, _say
    )
    raise typer.Exit(0 if sound else 2)


@app.command()
def publish(
    prepared: Annotated[Path, typer.Argument(help="Folder made by argus prepare.")],
    repo_id: Annotated[str, typer.Argument(help="Data set repository on the Hub, such as lab/ct-3drrg.")],
    with_data: Annotated[list[str] | None, typer.Option(help="Source whose rows go along, where allowed.")] = None,
    public: Annotated[bool, typer.Option(help="Make a new repository public.")] = False,
) -> None:
    """Upload ids, splits and curation decisions; CT-RATE and INSPECT themselves may not be redistributed."""
    from argus_processing.publish import publish as publish_folder

    print(publish_folder(prepared, repo_id, tuple(with_data or ()), private=not public))


@app.command()
def cache(
    prepared: Annotated[Path, typer.Argument(help="Folder made by argus prepare.")],
    out: Annotated[Path, typer.Argument(help="Folder of the cache; a second start continues in it.")],
    model: ModelOption,
    workers: Annotated[int, typer.Option(min=1, help="Volumes preprocessed at a time.")] = 1,
) -> None:
    """Preprocess every volume of a data set once, as a model's image processor does."""
    _quiet()
    from .cache_command import fill_cache

    unreadable = fill_cache(prepared, out, model, workers)
    for line in unreadable:
        _say(line)
    raise typer.Exit(2 if unreadable else 0)


@app.command()
def create(
    preset: Annotated[str, typer.Argument(help="Such as argus-8b-hr or argus-tiny.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    llm: Annotated[str, typer.Option(help="Folder or id of an instruct language model.")],
    vision: Annotated[Path | None, typer.Option(help="Folder of a pretrained vision tower.")] = None,
    dtype: Annotated[str, typer.Option(help="Of all weights: bfloat16 or float32.")] = "bfloat16",
    seed: Annotated[int, typer.Option(min=0, help="Of the weights that are new.")] = 0,
    tower: Annotated[str, typer.Option(help="Whose vision: argus, m3d, radfm or ct2rep.")] = "argus",
    compressor: Annotated[
        str | None, typer.Option(help="pixel_shuffle, average_pooling, perceiver or none; the tower's own without it.")
    ] = None,
    projector_layers: Annotated[int, typer.Option(min=1, max=2, help="Linear layers of the projector.")] = 2,
    num_latents: Annotated[int | None, typer.Option(min=1, help="Visual tokens of the perceiver.")] = None,
) -> None:
    """Assemble a model folder from a preset, a language model and a vision tower."""
    _quiet()
    from argus_training.create import create_model

    create_model(
        preset,
        out,
        llm=llm,
        vision=vision,
        seed=seed,
        dtype=dtype,
        tower=tower,
        compressor=compressor,
        num_projector_layers=projector_layers,
        num_latents=num_latents,
    )


@app.command()
def ablate(
    grid: Annotated[Path, typer.Argument(help="The grid: a YAML such as training/recipes/ablations/demo.yaml.")],
    out: Annotated[Path, typer.Argument(help="Folder for results, table and figure; a second start continues in it.")],
    base: Annotated[Path | None, typer.Option(help="Another base recipe than the grid names.")] = None,
    steps: Annotated[Path | None, typer.Option(help="Folder of the trainings, to share them between grids.")] = None,
) -> None:
    """Train and score every cell of an ablation, and print its tables."""
    _quiet()
    from .ablation import run_ablation

    run_ablation(grid, out, base, steps)


@app.command()
def convert(
    system: Annotated[str, typer.Argument(help="m3d or radfm.")],
    checkpoint: Annotated[Path, typer.Argument(help="Published .safetensors or .bin, or the folder of them.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, for argus create --vision.")],
    preset: Annotated[str, typer.Option(help="A preset of the wanted resolution.")] = "argus-8b-nr",
) -> None:
    """Make a vision tower of a baseline's published weights."""
    _quiet()
    from argus_training.convert_weights import convert_weights

    print(convert_weights(system, checkpoint, out, preset))


@app.command()
def plan(
    preset: Annotated[str, typer.Option(help="Such as argus-8b-hr.")],
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 8,
    memory: Annotated[float, typer.Option(min=1, help="Gigabytes of each GPU.")] = 80,
    micro_batch: Annotated[int, typer.Option(min=1, help="Scans a GPU takes at a time.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Scans a step, over all GPUs.")] = 16,
    stage: Annotated[str, typer.Option(help="1 or 2.")] = "2",
) -> None:
    """Count what training a preset takes under each strategy; exit code 2 if nothing fits."""
    from rich.console import Console

    from .plan import best_run, describe, make_plan, plan_table

    _quiet()
    planned = make_plan(preset, gpus, memory, micro_batch, batch, stage)
    print(describe(planned))
    Console().print(plan_table(planned))
    best = best_run(planned)
    if best is None:
        raise ValueError(f"{preset}: no strategy fits {gpus} GPUs of {memory:g} GB; add GPUs")
    print(best.command)


@app.command()
def demo(out: Annotated[Path, typer.Argument(help="Folder to write.")]) -> None:
    """Train a tiny model on phantoms, write reports and score them."""
    _quiet()
    from .demo import run_demo

    run_demo(out)


def _phantom_options(subset: str, num_phantoms: tuple[int, int, int] | None, seed: int | None) -> dict[str, Any]:
    """Name the given phantom settings as the data set's configuration does."""
    options: dict[str, Any] = {} if seed is None else {"seed": seed}
    if num_phantoms is not None:
        options |= dict(zip(("num_train", "num_validation", "num_test"), num_phantoms, strict=True))
    if options and subset != "phantom":
        raise ValueError(f"--num-phantoms and --seed belong to the subset phantom, not to {subset}")
    return options


def _say(message: str) -> None:
    """Print one line to stderr."""
    print(f"argus: {message}", file=sys.stderr)


def _quiet() -> None:
    """Keep the libraries' notes and bars away; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


if __name__ == "__main__":
    main()
