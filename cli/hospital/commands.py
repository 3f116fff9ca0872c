"""Run the commands for a hospital's studies: `argus series`, `dicom`, `pacs`, `watch`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..options import (
    NOTICE,
    Bits,
    BitsOption,
    DeviceMap,
    DeviceMapOption,
    Dtype,
    DtypeOption,
    ModelOption,
    StaticOption,
    TokensOption,
    TrustOption,
    quiet,
    say,
    tell,
)

if TYPE_CHECKING:
    from argus_inference.model_folder import Loading

SeriesOption = Annotated[
    str | None,
    typer.Option("--series", help="UID of the series to read. Default: the chest CT that `argus series` chooses."),
]
PreferencesOption = Annotated[
    Path | None, typer.Option("--preferences", help="YAML with a site's preferences for the choice of a series.")
]
# The library holds the list too, but takes too long to import for --help; a test compares them.
Structured = Literal["comprehensive", "basic"]
StructuredOption = Annotated[Structured, typer.Option("--sr", help="Kind of the structured report: TID 1500, or text.")]
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
    sr: StructuredOption = "comprehensive",
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
        raise _needs("argus dicom", error) from None
    choice = ObjectChoice(sr, evidence, fhir)
    for path in run(DicomRequest(scan, report, out, model, series_uid, preferences, choice), say):
        tell(str(path))


@app.command(rich_help_panel="In a hospital")
def pacs(
    study_uid: Annotated[str, typer.Argument(help="StudyInstanceUID of a study in the PACS.")],
    url: Annotated[str, typer.Option(help="Address of its DICOMweb services, with https://.")],
    model: ModelOption,
    user: Annotated[
        str, typer.Option(help="Name for basic authentication; the password is in ARGUS_PACS_PASSWORD or a file.")
    ] = "",
    password_file: Annotated[Path | None, typer.Option(help="File with the password.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a bearer token. Default: ARGUS_PACS_TOKEN, if set.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates that the server's is checked with.")] = None,
    client_certificate: Annotated[Path | None, typer.Option(help="PEM file with this client's certificate.")] = None,
    client_key: Annotated[Path | None, typer.Option(help="PEM file with its key.")] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Let secrets travel unencrypted.")] = False,
    preferences: PreferencesOption = None,
    sr: StructuredOption = "comprehensive",
    out: Annotated[Path | None, typer.Option(help="Write the objects into this new folder and send nothing.")] = None,
    max_new_tokens: TokensOption = 1024,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Fetch a study from a PACS, report on its chest CT, and store the report in the PACS, once.

    Every object says that it is machine-written, unverified and for research only.
    """
    loading = _loading(dtype, bits, static_cache, trust_remote_code, device_map)
    try:
        from argus_hospital.pacs.pacs_settings import PacsAddress

        from .pacs import PacsRequest, report_on_study
    except ModuleNotFoundError as error:
        raise _needs("argus pacs", error) from None
    files = (password_file, token_file, ca_file, client_certificate, client_key)
    paths = ["" if path is None else str(path) for path in files]
    address = PacsAddress(url, user, *paths, plain_http=plain_http)
    request = PacsRequest(study_uid, address, model, sr, preferences, max_new_tokens, out, loading)
    for line in report_on_study(request, say):
        tell(line)


@app.command(rich_help_panel="In a hospital")
def watch(
    config: Annotated[Path, typer.Argument(help="YAML with the PACS, the model and the state folder.")],
    once: Annotated[bool, typer.Option("--once", help="End when no study waits.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the studies again that failed before.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only list the studies that failed, with the cause; no watcher may run.")
    ] = False,
    dtype: DtypeOption = None,
    bits: BitsOption = None,
    static_cache: StaticOption = False,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Watch a PACS: report on each chest CT once its study is quiet, and store the report in the PACS, once.

    It goes on after any interruption, also a sudden one. Secrets come from files or the environment.
    """
    try:
        from .pacs import failures_of
        from .pacs import watch as run_watcher
    except ModuleNotFoundError as error:
        raise _needs("argus watch", error) from None
    if failed:
        for uid, cause in failures_of(config):
            tell(f"{uid}  {cause}")
        return
    run_watcher(config, once, retry_failed, say, _loading(dtype, bits, static_cache, trust_remote_code, device_map))


def _loading(
    dtype: Dtype | None, bits: Bits | None, static: bool, trust: bool, device_map: DeviceMap | None
) -> "Loading":
    from argus_inference.model_folder import Loading

    say(NOTICE)
    quiet()
    return Loading(dtype, bits, static, trust, device_map)


def _needs(command: str, error: ModuleNotFoundError) -> ValueError:
    return ValueError(f"{command} needs {error.name}: pip install '.[hospital]'")
