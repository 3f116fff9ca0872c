"""Start the console command `argus`, a thin layer over the public functions.

Heavy libraries are imported inside the commands, so that `argus --help` answers quickly.
"""

import logging
import os
import sys
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from argus_inference.console.interruption import EXIT_CODE, Interrupted, signals_as_usual, signals_raise
from argus_training.threads import ThreadsError, check_threads

from . import benchmark, data, models, publish, stress_metrics
from .checks import audit
from .hospital import commands as hospital
from .hospital.commands import PreferencesOption, SeriesOption
from .options import (
    NOTICE,
    AdapterOption,
    AllowedHostOption,
    AnonymousOption,
    BatchOption,
    BitsOption,
    DeviceMapOption,
    DtypeOption,
    EngineOption,
    EngineOptionsOption,
    LlmOption,
    ModelOption,
    StaticOption,
    TokensOption,
    TrustOption,
    check_engine,
    check_llm,
    path_names,
    quiet,
    say,
    take_any_letter,
)
from .usage_errors import tell_usage

app = typer.Typer(
    name="argus",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (benchmark, audit, data, hospital, models, stress_metrics):
    app.add_typer(commands.app)
app.add_typer(publish.app, name="publish", rich_help_panel="Publish")


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"argus {version('argus-ct')}")
        raise typer.Exit


@app.callback()
def _options(
    version_wanted: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Write radiology reports from 3D CT. Research software, not a medical device."""


def main() -> None:
    """Run the command; every error ends as one line on stderr.

    Exit code 2: an error that the user can correct, 1: an unexpected error, 130: interrupted. If ARGUS_DEBUG is set in
    the environment, the traceback is shown.
    """
    take_any_letter()
    warnings.showwarning = _warn
    # On some processors bitsandbytes reports, when it is imported, kernels that it did not find.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        check_threads()
        with signals_raise():
            code = app(standalone_mode=False)
    except typer.TyperException as error:
        code = tell_usage(error)
    except Interrupted as stop:
        say(f"interrupted ({stop}); what was finished is kept, and the same command goes on where it can")
        sys.exit(EXIT_CODE)
    except BrokenPipeError:
        # The reader of stdout has ended (`argus report ... | head`); nothing more can be written there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except BaseException as error:
        # BaseException, because a panic of a Rust library is not an `Exception`; a normal exit is raised again.
        if isinstance(error, SystemExit | KeyboardInterrupt) or os.environ.get("ARGUS_DEBUG"):
            raise
        code = _tell_failure(error)
    sys.exit(code)


def _tell_failure(error: BaseException) -> int:
    """Print an error as one line; return the exit code."""
    if isinstance(error, ThreadsError):
        # In this case the libraries that `explain` needs could not be imported.
        say(str(error))
        return 2
    from argus_processing.failures import explain

    told = explain(error)
    if told is None:
        # The error's text is not shown, because it may quote a patient's file.
        told = f"stopped by an unexpected {type(error).__name__}; run it again with ARGUS_DEBUG=1 to see where"
        say(told)
        return 1
    say(told)
    return 2


def _warn(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print a warning of a library or of the program as one line, without its place in the source."""
    if not issubclass(category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
        say(f"warning: {message}")


@app.command(rich_help_panel="Start here")
def demo(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training; the phantoms stay the same.")] = 0,
) -> None:
    """Train a tiny model on phantoms, write reports and score them."""
    quiet()
    from .demo import run_demo

    run_demo(out, seed)


@app.command(rich_help_panel="Use a model")
def report(
    scans: Annotated[list[Path], typer.Argument(metavar="SCAN", help=".nii, .nii.gz or a DICOM folder.")],
    model: ModelOption,
    out: Annotated[Path | None, typer.Option(help="Also write the output to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line with a JSON object per scan.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print the words as they come.")] = False,
    preview: Annotated[Path | None, typer.Option(help="Save a PNG of the scan with its report.")] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for maps of which voxels carried each sentence (NIfTI, JSON, picture).")
    ] = None,
    series_uid: SeriesOption = None,
    preferences: PreferencesOption = None,
    max_new_tokens: TokensOption = 1024,
    batch_size: BatchOption = 1,
    llm: LlmOption = None,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
    anonymous_paths: AnonymousOption = False,
) -> None:
    """Write the report of one or several scans; exit code 2 if a scan could not be read, 130 if interrupted.

    In both cases --out holds the finished reports; the file is always complete, never half-written. With --json the
    scan's path is part of the output; if it holds a patient's name, so does the output, unless --anonymous-paths is
    given. In a folder with several series, the chest CT is read that `argus series` chooses.
    """
    from argus_hospital.series.site_preferences import load_preferences
    from argus_inference.model_folder import Loading

    from . import report
    from .hospital.series import opened_scans

    loading = Loading(dtype, bits, static_cache, trust_remote_code, device_map)
    check_llm(llm, loading, evidence)
    say(NOTICE)
    quiet()
    names = path_names(anonymous_paths)
    report.check_options(scans, out, as_json, stream, preview, evidence)
    style = report.choose_style(as_json, stream)
    with opened_scans(scans, series_uid, load_preferences(preferences), say) as opened:
        all_read = report.run(
            opened, model, style, out, preview, max_new_tokens, batch_size, say, loading, names, evidence, llm
        )
    raise typer.Exit(0 if all_read else 2)


@app.command(rich_help_panel="Use a model")
def serve(
    model: ModelOption,
    scans: Annotated[
        Path | None, typer.Option(help="Folder of scans that clients may name by file:// address.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on. Default: only this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    allowed_host: AllowedHostOption = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ARGUS_API_KEY", show_envvar=True, help="Key that clients must send. Default: none."),
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File whose only line is that key.")] = None,
    batch_size: BatchOption = 16,
    engine: EngineOption = "transformers",
    engine_option: EngineOptionsOption = None,
    adapter: AdapterOption = None,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Serve a model through OpenAI's chat completions API: a CT in, its report out, streamed on request."""
    check_engine(engine, engine_option, adapter)
    try:
        from argus_inference.serving.access_key import chosen_key
        from argus_inference.serving.engines import vllm_starter
        from argus_inference.serving.serve import ServerOptions, serve_model, start_transformers
    except ImportError:
        raise ValueError("argus serve needs starlette, uvicorn and pydantic: pip install '.[serve]'") from None
    from argus_inference.model_folder import Loading

    say(NOTICE)
    quiet()
    loading = Loading(dtype, bits, static_cache, trust_remote_code, device_map)
    signals_as_usual()
    options = ServerOptions(scans, host, port, allowed_host or (), chosen_key(api_key, api_key_file))
    start = partial(start_transformers, loading=loading, places=batch_size)
    if engine == "vllm":
        start = vllm_starter(loading, adapter, engine_option or ())
    serve_model(model, start, options, say)


@app.command(rich_help_panel="Use a model")
def view(
    report: Annotated[
        Path, typer.Argument(help="Folder that `argus report --evidence` wrote, or a line of `argus report --json`.")
    ],
    scan: Annotated[
        Path | None, typer.Option(help="The report's scan. Default: the path that the report names.")
    ] = None,
    series_uid: SeriesOption = None,
    preferences: PreferencesOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    browser: Annotated[
        bool, typer.Option("--browser", help="Also open the address in this machine's browser.")
    ] = False,
) -> None:
    """Show a report beside its scan on a local page: three planes and 3D, a map of evidence for each sentence.

    The page is for this machine alone, and nothing leaves it. The address that is printed holds a secret.
    """
    try:
        from .pages.view import ViewRequest, run
    except ModuleNotFoundError as error:
        raise ValueError(f"argus view needs {error.name}: pip install '.[view]'") from None
    say(NOTICE)
    signals_as_usual()
    run(ViewRequest(report, scan, series_uid, preferences, port, browser), say)
