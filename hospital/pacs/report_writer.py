"""Write reports with a model that is loaded once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from argus_inference.model_folder import Loading, hash_model, load_model
from argus_inference.scan_reports import ScanFailure, write_reports
from argus_processing.saved_models.provenance import Provenance, describe_provenance, read_provenance

from ..objects.report_content import ReportContent, report_content


class UnreadableScanError(ValueError):
    """A series that cannot be read or reported on; to try it again does not help. No text of a header is quoted."""


class ReportWriter(Protocol):
    """Anything that writes the report on the series in a folder."""

    @property
    def model_hash(self) -> str:
        """Return the SHA-256 of the model's files."""

    def write(self, folder: Path) -> ReportContent:
        """Write the report on the one series in a folder.

        Raises:
            UnreadableScanError: if it cannot be read.
        """


@dataclass(frozen=True)
class ModelWriter:
    """A loaded model that writes reports; `tell` gets warnings about a scan, one line each."""

    model: Any
    processor: Any
    model_hash: str
    provenance: Provenance | None
    max_new_tokens: int
    tell: Callable[[str], None]

    def write(self, folder: Path) -> ReportContent:
        """Write the report on the one series in a folder; see `ReportWriter`."""
        limit, made = self.max_new_tokens, self.provenance
        (result,) = write_reports(self.model, self.processor, [folder], max_new_tokens=limit, provenance=made)
        if isinstance(result, ScanFailure):
            raise UnreadableScanError(without_folder(result.error, folder))
        for warning in result.warnings:
            self.tell(without_folder(warning, folder))
        written = datetime.now().replace(microsecond=0)
        facts = describe_provenance(self.provenance)
        return report_content(result.report, self.model_hash, facts, written, result.truncated)


def load_writer(
    folder: Path, max_new_tokens: int, tell: Callable[[str], None], loading: Loading | None = None
) -> ModelWriter:
    """Load the model of a folder.

    Raises:
        ValueError, OSError: if the folder holds no model that can be loaded.
    """
    model, processor = load_model(folder, loading)
    return ModelWriter(model, processor, hash_model(folder), read_provenance(folder), max_new_tokens, tell)


def without_folder(text: str, folder: Path) -> str:
    """Return an error or a warning about a scan without the folder in which it lay while it was read."""
    return text.replace(f"{folder}/", "").replace(f"{folder}: ", "").replace(str(folder), "the series")
