"""List the ways to read labels out of a report: by rules, or by CT-CLIP's classifier where its weights are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from ..clinical.clinical_weights import ClinicalOptions
from .radbert_labels import radbert_reader
from .read_report import ReadReport
from .rule_reader import RULES, read_labels_by_rules


class LabelReader(Protocol):
    """A way to read labels."""

    @property
    def signature(self) -> str:
        """Return everything that decides what is read."""

    def read(self, reports: Sequence[str]) -> list[ReadReport]:
        """Return what is read in each report."""


@dataclass(frozen=True)
class RuleReader:
    """The rules of `rule_reader.py`; they need nothing but the text."""

    signature: str = RULES

    def read(self, reports: Sequence[str]) -> list[ReadReport]:
        """Return the labels that each report states as present; equal reports are read once."""
        read = {report: ReadReport(frozenset(read_labels_by_rules(report))) for report in dict.fromkeys(reports)}
        return [read[report] for report in reports]


# A reader's function raises `MissingWeightsError` if its weights are not found.
LABEL_BACKENDS: dict[str, Callable[[ClinicalOptions], LabelReader]] = {
    "rules": lambda options: RuleReader(),
    "radbert": radbert_reader,
}


@cache
def label_reader(backend: str, options: ClinicalOptions) -> LabelReader:
    """Return the reader of this name.

    Raises:
        ValueError: if there is no such reader, or its weights are not found; the message says where to put them.
    """
    if backend not in LABEL_BACKENDS:
        raise ValueError(f"no reader {backend!r} of labels; there are {', '.join(LABEL_BACKENDS)}")
    return LABEL_BACKENDS[backend](options)


def read_labels(report: str, backend: str = "rules", options: ClinicalOptions | None = None) -> set[str]:
    """Return the labels of CT-RATE that a report states as present.

    Args:
        report: findings, impression or both.
        backend: one of `LABEL_BACKENDS`.
        options: where weights are searched and answers kept; the rules need none.

    Raises:
        ValueError: as `label_reader`.
    """
    (read,) = label_reader(backend, options or ClinicalOptions()).read([report])
    return set(read.labels)
