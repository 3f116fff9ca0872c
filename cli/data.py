"""Run the commands for data: `argus phantom`, `prepare`, `cache`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import AnonymousOption, ModelOption, TrustOption, path_names, quiet, say

app = typer.Typer()
Engine = Literal["local", "ray"]
Layout = Literal["ct-rate", "bimcv-r", "inspect"]


@app.command(rich_help_panel="Data")
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    layout: Annotated[Layout, typer.Option(help="Layout of the files.")] = "ct-rate",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of scans.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help="Fault of the real download to imitate; repeatable.")] = None,
) -> None:
    """Write synthetic chest CTs with reports, in the layout of a source data set."""
    from argus_processing.phantom.layouts import write_layout

    write_layout(out, layout, n, seed, fault or ())


@app.command(rich_help_panel="Data")
def prepare(
    out: Annotated[Path, typer.Argument(help="Folder to write; a second start continues there.")],
    ct_rate: Annotated[Path | None, typer.Option(help="Folder of the CT-RATE download.")] = None,
    bimcv_r: Annotated[Path | None, typer.Option(help="Folder of the BIMCV-R download.")] = None,
    inspect: Annotated[Path | None, typer.Option(help="Folder of the INSPECT download.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of volumes read in parallel.")] = 1,
    engine: Annotated[Engine, typer.Option(help="Reader of the volumes: this machine, or a Ray cluster.")] = "local",
    embed_volumes: Annotated[
        bool, typer.Option("--embed-volumes", help="Put the volumes into the Parquet files.")
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(help="Use the published decisions in this folder: a download of their repository, or saved rows."),
    ] = None,
    columns: Annotated[
        Path | None, typer.Option(help="YAML file with column names that differ from the published ones.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Chat model: folder, id, or name at --judge-url (the paper: gpt-4o). Default: built-in rules."
        ),
    ] = None,
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible address that serves --judge.")] = None,
    judge_requests: Annotated[
        int, typer.Option(min=1, help="Number of requests to --judge-url that are under way at a time.")
    ] = 16,
    trust_remote_code: TrustOption = False,
    anonymous_paths: AnonymousOption = False,
) -> None:
    """Curate CT-3DRRG from the downloads; exit code 2 means that a volume or row could not be used.

    Rows hold the volumes' paths and the sources' ids; if these hold a patient's name, so do the rows. With
    --anonymous-paths (needs --embed-volumes), rows and decisions/ hold opaque names; logs/ keeps the sources' own names
    and the list of which opaque name stands for which.
    """
    from argus_processing.sources.registry import read_columns

    from . import prepare

    quiet()
    roots = {"ct-rate": ct_rate, "bimcv-r": bimcv_r, "inspect": inspect}
    options = {"workers": workers, "engine": engine, "with_volumes": embed_volumes, "decisions": decisions}
    if anonymous_paths and not embed_volumes:
        raise ValueError("--anonymous-paths needs --embed-volumes: without it the rows find their volumes by path")
    names = path_names(anonymous_paths)
    options["name_of"] = names.name if names else None
    if columns:
        options["columns"] = read_columns(columns)
    given = {name: root for name, root in roots.items() if root}
    sound = prepare.run(given, out, options, judge, judge_url, judge_requests, say, trust_remote_code)
    raise typer.Exit(0 if sound else 2)


@app.command(rich_help_panel="Data")
def cache(
    prepared: Annotated[Path, typer.Argument(help="Folder made by argus prepare.")],
    out: Annotated[Path, typer.Argument(help="Folder of the cache; a second start continues there.")],
    model: ModelOption,
    workers: Annotated[int, typer.Option(min=1, help="Number of volumes preprocessed in parallel.")] = 1,
    trust_remote_code: TrustOption = False,
) -> None:
    """Preprocess every volume of a data set once, with a model's image processor."""
    quiet()
    from .cache import fill_cache

    unreadable = fill_cache(prepared, out, model, workers, trust_remote_code)
    for line in unreadable:
        say(line)
    raise typer.Exit(2 if unreadable else 0)
