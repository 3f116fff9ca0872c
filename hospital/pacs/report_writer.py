"""Write reports with a model that is loaded once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from argus_inference.evidence.evidence_files import write_maps
from argus_inference.evidence.explain import explain
from argus_inference.model_folder import Loading, hash_model, load_model
from argus_inference.preview import draw_planes
from argus_inference.scan_files import ScanNotReadError
from argus_inference.scan_reports import ScanFailure, write_reports
from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.mean_scan import MeanScan
from argus_processing.mean_scan.mean_scan_file import read_mean_scan
from argus_processing.saved_models.provenance import Provenance, describe_provenance, read_provenance

from ..objects.report_content import ReportContent, report_content
from .scan_apart import read_scan


class UnreadableScanError(ValueError):
    """A series that cannot be read or reported on; to try it again does not help. No text of a header is quoted."""


class ReportWriter(Protocol):
    """Anything that writes the report on the series in a folder."""

    @property
    def model_hash(self) -> str:
        """Return the SHA-256 of the model's files."""

    def write(self, folder: Path, maps: Path | None = None) -> ReportContent:
        """Write the report on the one series in a folder.

        Args:
            folder: with the images.
            maps: folder to make for maps of evidence; it is not made if no sentence has a map. Default: none are made.

        Raises:
            UnreadableScanError: if it cannot be read.
        """


@dataclass(frozen=True)
class ModelWriter:
    """A loaded model that writes reports.

    Attributes:
        model, processor, model_hash, provenance: of the model.
        max_new_tokens: longest report in tokens.
        tell: gets warnings about a scan, one line each.
        mean: the model's mean scan, if maps of evidence are to be made.
    """

    model: Any
    processor: Any
    model_hash: str
    provenance: Provenance | None
    max_new_tokens: int
    tell: Callable[[str], None]
    mean: MeanScan | None = None

    def write(self, folder: Path, maps: Path | None = None) -> ReportContent:
        """Write the report on the one series in a folder; see `ReportWriter`."""
        try:
            volume = read_scan(folder)
        except ScanNotReadError as error:
            raise UnreadableScanError(without_folder(str(error), folder)) from None
        limit, made = self.max_new_tokens, self.provenance
        (result,) = write_reports(
            self.model, self.processor, [folder], max_new_tokens=limit, provenance=made, read=lambda _: volume
        )
        if isinstance(result, ScanFailure):
            raise UnreadableScanError(without_folder(result.error, folder))
        for warning in result.warnings:
            self.tell(without_folder(warning, folder))
        if maps is not None and self.mean is not None:
            self._write_maps(volume, result.report, self.mean, maps)
        written = datetime.now().replace(microsecond=0)
        facts = describe_provenance(self.provenance)
        content = report_content(result.report, self.model_hash, facts, written, result.truncated)
        # Drawn here, where the scan is at hand: to read it again takes seconds.
        return replace(content, picture=draw_planes(volume))

    def _write_maps(self, volume: CTVolume, report: str, mean: MeanScan, folder: Path) -> None:
        """Write the maps of the sentences that have one; a report is worth sending without them."""
        try:
            found = explain(self.model, self.processor, volume, report, mean)
            if any(sentence.density is not None for sentence in found.sentences):
                write_maps(folder, report, found, {"model_hash": self.model_hash})
        except OSError:
            raise
        except Exception as error:  # whose text may quote the scan
            self.tell(f"no evidence could be made ({type(error).__name__})")


def load_writer(
    folder: Path,
    max_new_tokens: int,
    tell: Callable[[str], None],
    loading: Loading | None = None,
    has_evidence: bool = False,
) -> ModelWriter:
    """Load the model of a folder; with evidence, it must have a mean scan.

    Raises:
        ValueError, OSError: if the folder holds no model that can be loaded.
    """
    mean = read_mean_scan(folder) if has_evidence else None
    model, processor = load_model(folder, loading)
    return ModelWriter(model, processor, hash_model(folder), read_provenance(folder), max_new_tokens, tell, mean)


def without_folder(text: str, folder: Path) -> str:
    """Return an error or a warning about a scan without the folder in which it lay while it was read."""
    return text.replace(f"{folder}/", "").replace(f"{folder}: ", "").replace(str(folder), "the series")
