"""Rank the series that may be read; each criterion is one function and one line in `CRITERIA`, most weighty first."""

import re
from collections.abc import Callable

from .kernels import UNKNOWN
from .series_facts import CLEAR, SeriesFacts
from .series_words import plain_words
from .site_preferences import SitePreferences

Criterion = Callable[[SeriesFacts, SitePreferences], float]
_KEV = re.compile(r"\d{2,3}(?:[.,]\d+)? ?kev")


def _posture(facts: SeriesFacts, preferences: SitePreferences) -> float:
    is_prone = facts.labels.patient_position[2:3] == "P"
    return float(is_prone or preferences.vocabulary.has("expiration", facts.labels.description))


def _processing(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return float(bool(_KEV.search(plain_words(facts.labels.description))))


def _phase(facts: SeriesFacts, preferences: SitePreferences) -> float:
    wanted = preferences.phases
    if facts.phase in wanted:
        return wanted.index(facts.phase)
    is_contrast = facts.phase not in ("", "native")
    return wanted.index("contrast") if is_contrast and "contrast" in wanted else len(wanted)


def _thin(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return float(facts.slab_mm > preferences.thin_mm + 0.01)


def _body(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return float(facts.extent_mm > preferences.chest_extent_mm)


def _words(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return float(facts.chest_words != CLEAR)


def _kernel(facts: SeriesFacts, preferences: SitePreferences) -> float:
    wanted = preferences.kernels
    if facts.kernel == UNKNOWN:  # more often soft than anything else
        return 0.5
    return wanted.index(facts.kernel) if facts.kernel in wanted else len(wanted)


def _derived(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return float("DERIVED" in facts.labels.image_type.upper())


def _thickness(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return round(abs(facts.slab_mm - preferences.thickness_mm), 2)


def _length(facts: SeriesFacts, preferences: SitePreferences) -> float:
    return -float(len(facts.slices))


CRITERIA: dict[str, Criterion] = {
    "expiration or prone": _posture,
    "monoenergetic": _processing,
    "phase": _phase,
    "thicker": _thin,
    "more than the chest": _body,
    "kernel": _kernel,
    "no word says chest": _words,
    "derived": _derived,
    "thickness": _thickness,
    "fewer slices": _length,
}


def rank_of(facts: SeriesFacts, preferences: SitePreferences) -> tuple[float, ...]:
    """Return a series' rank by all criteria; the lowest is read."""
    return tuple(criterion(facts, preferences) for criterion in CRITERIA.values())


def why_behind(rank: tuple[float, ...], best: tuple[float, ...]) -> str:
    """Name the criterion by which a series comes after the best one."""
    names = (name for name, one, other in zip(CRITERIA, rank, best, strict=True) if one != other)
    return next(names, "its number")
