"""Read each study of a PACS that has a chest CT, once it is quiet, and send its report once."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from argus_processing.storage.whole_files import write_whole

from ..objects.write_objects import ObjectChoice
from ..series.site_preferences import SitePreferences
from .audit_log import AuditLog
from .ledger import DONE, FAILED, LONGEST_WAIT_S, REFUSED, WAITING, Job, Ledger, Waiting
from .pacs_client import PacsClient, SeriesListed
from .pacs_errors import OtherReportError, PacsBusyError, PacsDownError, PacsError, StudyGoneError
from .pacs_settings import WatchSettings
from .report_writer import ReportWriter, UnreadableScanError
from .reports_in_pacs import send, stored_reports
from .state_folder import StateFolder
from .study_reading import NothingToReadError, StudyReader, hash_of_series
from .watch_metrics import WatchMetrics

FIRST_WAIT_S = 2.0  # before the second try of a study
LONGEST_REST_S = 60.0  # while PACS or disk are out of order
SHORTEST_REST_S = 0.2


@dataclass
class Watcher:
    """One watcher of one PACS.

    Attributes:
        settings: of the watcher.
        client: of the PACS.
        writer: writes the reports; its model is loaded.
        preferences: for the choice of a series.
        state: the folder that only this watcher uses.
        metrics: its counts.
        say: prints one line.
        rest: waits some seconds.
    """

    settings: WatchSettings
    client: PacsClient
    writer: ReportWriter
    preferences: SitePreferences
    state: StateFolder
    metrics: WatchMetrics
    say: Callable[[str], None]
    rest: Callable[[float], None] = time.sleep
    _uncounted: Job | None = None
    _polled: float = 0.0
    _trouble: str = field(default="", repr=False)

    @property
    def ledger(self) -> Ledger:
        """Return the watcher's memory."""
        return self.state.ledger

    @property
    def audit(self) -> AuditLog:
        """Return the audit log."""
        return self.state.audit

    def run(self, until_idle: bool) -> None:
        """Watch for ever, or until no study waits.

        A PACS that does not answer and a disk that is full are waited for; only errors of the program end it.
        """
        tries = 0
        while True:
            try:
                busy = self._turn()
                self._calm()
                tries = 0
            except (PacsError, OSError, sqlite3.Error) as error:
                self._tell_trouble(error)
                tries += 1
                self.rest(min(LONGEST_REST_S, SHORTEST_REST_S * 2**tries))
                continue
            if busy:
                continue
            if until_idle and not self.ledger.counts()[WAITING]:
                return
            self.rest(min(self.settings.poll_s, max(SHORTEST_REST_S, self.settings.quiet_s / 4)))

    def _turn(self) -> bool:
        """Look at the list of studies when it is time, and handle one study; return whether there was one."""
        if self._uncounted is not None:  # the PACS or the disk failed, which is not the study's fault
            self.ledger.put_off(self._uncounted, time.time(), self._uncounted.tries, "PACS or disk were out of order")
            self._uncounted = None
        now = time.time()
        if not 0 <= now - self._polled < self.settings.poll_s:
            self._poll(now)
        job = self.ledger.next_job(self.settings.quiet_s, time.time())
        if job is not None:
            self._try(job)
        self.metrics.count(self.ledger.counts(), self.ledger.num_outbox())
        return job is not None

    def _poll(self, now: float) -> None:
        found = list(self.client.studies_with_ct(_dates(self.settings.days)))
        self.metrics.tell_pacs(True)
        self.ledger.list_studies(found, self.writer.model_hash, now)
        self.ledger.forget(now - self.settings.remember_days * 86400)
        self._polled = time.time()

    def _try(self, job: Job) -> None:
        """Handle a study; an error of the PACS or of the study puts it off or ends in a state with the cause."""
        if job.tries >= self.settings.max_tries:  # each of them ended the program
            self._finish(job, FAILED, "", f"the program ended {job.tries} times while it was read")
            return
        self.ledger.begin(job)
        try:
            self._handle(job)
        except StudyGoneError:
            self.ledger.forget_study(job.study)
            self.audit.write("gone", job.study)
        except PacsDownError as error:
            if isinstance(error, PacsBusyError) or not self.client.answers():
                self._uncounted = job
                raise
            self._repeat(job, str(error), type(error).__name__)  # it is this study that it does not answer to
        except (OSError, sqlite3.Error):
            self._uncounted = job
            raise
        except UnreadableScanError as error:
            self._finish(job, FAILED, "", str(error))
        except PacsError as error:
            self._repeat(job, str(error), type(error).__name__)
        except Exception as error:  # of an unforeseen kind, whose text may quote a header
            self._repeat(job, f"stopped by an unexpected {type(error).__name__}", type(error).__name__)
        except BaseException:  # a signal asks the program to end, which is not the study's fault
            self.ledger.put_off(job, time.time(), job.tries, "the program was ended")
            raise

    def _handle(self, job: Job) -> None:
        waiting = self.ledger.waiting(job.study)
        if waiting is not None:
            self._send(job, waiting)
        series = self._series_of(job)
        content = hash_of_series(series)
        if job.settled in (DONE, REFUSED) and (job.model, job.content) == (self.writer.model_hash, content):
            self.ledger.settle(job)
            return
        began = time.monotonic()
        try:
            read = self._reader(job).read(job.study, series)
        except NothingToReadError as error:
            self._finish(job, REFUSED, content, str(error))
            return
        if read.objects:
            self.metrics.reading.observe(time.monotonic() - began)
            waiting = Waiting(read.key, read.objects)
            self.ledger.put_out(job.study, read.key, read.objects)
            self._send(job, waiting)
            self.metrics.replaced.inc(int(read.replaces))
            self._finish(job, DONE, content, "")
        else:
            self._finish(job, DONE, content, "was reported before")

    def _series_of(self, job: Job) -> list[SeriesListed]:
        """List the series of a study that still has CT.

        Raises:
            StudyGoneError: if it has none any more.
        """
        series = self.client.series_of(job.study)
        if not any(each.modality == "CT" for each in series):
            raise StudyGoneError("the study is no longer in the PACS")
        return series

    def _reader(self, job: Job) -> StudyReader:
        def step(name: str, told: str) -> None:
            self.audit.write(name, job.study, told=told)

        return StudyReader(
            self.client,
            self.writer,
            self.preferences,
            ObjectChoice(self.settings.structured, has_fhir=bool(self.settings.fhir)),
            self.settings.evidence,
            self.state.work,
            self.ledger.is_reported,
            step,
        )

    def _send(self, job: Job, waiting: Waiting) -> None:
        """Send the objects of a report, read them back, write the FHIR document, and forget them all."""
        self._series_of(job)  # or a study that the hospital removed would be there again, with a report alone
        objects = [each for each in waiting.objects if each.is_dicom]
        try:
            for number, each in enumerate(objects, start=1):
                send(self.client, job.study, each.content)
                self.audit.write("sent", job.study, number=number, of=len(objects))
            for each in waiting.objects:
                if not each.is_dicom and self.settings.fhir:
                    write_whole(Path(self.settings.fhir) / each.name, each.content)
                    self.audit.write("FHIR written", job.study)
        except OtherReportError:
            series = self.client.series_of(job.study)
            if waiting.structured not in {report.uids.sop for report in stored_reports(self.client, job.study, series)}:
                raise
            self.audit.write("reported by another watcher", job.study)
        now = time.time()
        self.ledger.sent(job.study, waiting.key, waiting.structured, now)
        self.metrics.sent.inc()
        self.metrics.delay.observe(max(0.0, now - job.changed))

    def _finish(self, job: Job, state: str, content: str, cause: str) -> None:
        self.ledger.finish(job, state, self.writer.model_hash, content, cause)
        self.audit.write(state, job.study, cause=cause)
        self.say(f"study {self.audit.name(job.study)}: {state}{f' ({cause})' if cause else ''}")

    def _repeat(self, job: Job, cause: str, kind: str) -> None:
        """Let a study wait for its next try, the longer the more have failed; after the last it is failed."""
        tries = job.tries + 1
        if tries >= self.settings.max_tries:
            self._finish(job, FAILED, "", cause)
            return
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**job.tries)
        self.ledger.put_off(job, time.time() + wait, tries, cause)
        self.metrics.retries.labels(kind).inc()
        self.audit.write("retry", job.study, tries=tries, seconds=wait, cause=cause)

    def _tell_trouble(self, error: Exception) -> None:
        """Note that PACS or disk are out of order, and say it once."""
        is_pacs = isinstance(error, PacsError)
        told = str(error) if is_pacs else f"the folder of the state or of FHIR cannot be written ({_cause(error)})"
        (self.metrics.tell_pacs if is_pacs else self.metrics.tell_disk)(False)
        self.metrics.retries.labels(type(error).__name__).inc()
        if told != self._trouble:
            self._trouble = told
            self.say(f"waiting: {told}")
            if is_pacs:
                with suppress(OSError):  # the disk may be full too
                    self.audit.write("pacs down", cause=told)

    def _calm(self) -> None:
        """Note that PACS and disk work."""
        self.metrics.tell_pacs(True)
        self.metrics.tell_disk(True)
        if self._trouble:
            self._trouble = ""
            self.audit.write("works again")
            self.say("works again")


def _cause(error: Exception) -> str:
    """Return the cause of a disk's error without a path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _dates(days: int | None) -> str:
    """Return the range of study dates; tomorrow is in it, for clocks differ."""
    if days is None:
        return ""
    today = date.today()
    return f"{today - timedelta(days=days - 1):%Y%m%d}-{today + timedelta(days=1):%Y%m%d}"
