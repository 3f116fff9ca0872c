"""Run `argus pacs` and `argus watch`: report on one study of a PACS, or on all that arrive."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from argus_hospital.objects.write_objects import ObjectChoice
from argus_hospital.pacs.pacs_client import PacsClient
from argus_hospital.pacs.pacs_settings import PacsAddress, WatchSettings, load_settings
from argus_hospital.pacs.report_writer import load_writer
from argus_hospital.pacs.reports_in_pacs import send
from argus_hospital.pacs.scan_apart import start_early
from argus_hospital.pacs.state_folder import opened_state
from argus_hospital.pacs.study_reading import StudyReader
from argus_hospital.pacs.watch_metrics import WatchMetrics, serve_metrics
from argus_hospital.pacs.watcher import Watcher
from argus_hospital.series.site_preferences import load_preferences
from argus_inference.model_folder import Loading
from argus_processing.storage.claimed_folders import check_new_folder, whole_folder


@dataclass(frozen=True)
class PacsRequest:
    """The options of `argus pacs`; `out` is a folder to write instead of sending."""

    study: str
    address: PacsAddress
    model: Path
    structured: str
    preferences: Path | None
    max_new_tokens: int
    out: Path | None
    loading: Loading


def report_on_study(request: PacsRequest, say: Callable[[str], None]) -> tuple[str, ...]:
    """Report on one study and send the report, unless the PACS holds it; return one line for each object.

    Raises:
        ValueError, OSError: if the PACS, the study or an option is refused.
    """
    silence_libraries()
    start_early()
    if request.out is not None:
        check_new_folder(request.out)
    preferences = load_preferences(request.preferences)
    client = PacsClient(request.address)
    series = client.series_of(request.study)
    if not series:
        raise ValueError("the PACS has no such study; give its StudyInstanceUID")
    writer = load_writer(request.model, request.max_new_tokens, say, request.loading)

    def step(name: str, told: str) -> None:
        say(f"{name}: {told}" if told else name)

    choice = ObjectChoice(request.structured)
    reader = StudyReader(client, writer, preferences, choice, False, Path(gettempdir()), lambda key: False, step)
    read = reader.read(request.study, series)
    if not read.objects:
        say("the PACS holds the report of this model on these images; nothing is sent")
        return ()
    if request.out is not None:
        with whole_folder(request.out) as part:
            for each in read.objects:
                (part / f"{each.name}.dcm").write_bytes(each.content)
        return tuple(str(request.out / f"{each.name}.dcm") for each in read.objects)
    for each in read.objects:
        send(client, request.study, each.content)
    return tuple(each.name for each in read.objects)


def watch(config: Path, once: bool, retry_failed: bool, say: Callable[[str], None], loading: Loading) -> None:
    """Watch a PACS until a signal ends it, or with `once` until no study waits.

    Raises:
        ValueError, OSError: if a setting is refused, or another watcher works with the same state.
    """
    silence_libraries()
    settings = load_settings(config)
    preferences = load_preferences(Path(settings.preferences) if settings.preferences else None)
    if settings.fhir and not Path(settings.fhir).is_dir():
        raise FileNotFoundError(f"{settings.fhir}: no such folder for FHIR documents; make it for the program's user")
    start_early()
    with opened_state(Path(settings.state)) as state:
        client = PacsClient(settings.pacs)
        metrics = WatchMetrics()
        server = serve_metrics(metrics, *settings.metrics_address()) if settings.metrics else None
        try:
            writer = load_writer(Path(settings.model), settings.max_new_tokens, say, loading, settings.evidence)
            if retry_failed:
                say(f"{state.ledger.retry_failures()} studies that failed are tried again")
            state.audit.write("started", model=writer.model_hash)
            say(f"watching with the model {writer.model_hash[:16]}")
            Watcher(settings, client, writer, preferences, state, metrics, say).run(once)
        finally:
            if server is not None:
                server.shutdown()
                server.server_close()


def failures_of(config: Path) -> list[tuple[str, str]]:
    """Return the UIDs of the studies that failed, with the cause.

    Raises:
        ValueError, OSError: if a setting is refused, or a watcher works with the state now.
    """
    settings: WatchSettings = load_settings(config)
    with opened_state(Path(settings.state)) as state:
        return state.ledger.failures()


def silence_libraries() -> None:
    """Turn off warnings and logs of libraries for the rest of the process, because they quote header values."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
