"""Hold what is read in one report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadReport:
    """The labels that a report states, and whether its end was cut off before it was read."""

    labels: frozenset[str]
    is_cut: bool = False
