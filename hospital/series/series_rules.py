"""Refuse series that are not a chest CT to read; each rule is one function and one line in `RULES`.

Rules of files look at every series, rules of slices at those that have CT slices.
"""

import re
from collections.abc import Callable

from argus_processing.dicom_kind import DERIVED, LOCALIZER, OTHER, SLICE

from .series_facts import SeriesFacts, SeriesFiles
from .series_words import plain_words
from .site_preferences import SitePreferences
from .study_files import DAMAGED

_KEV = re.compile(r"(\d{2,3})(?:[.,]\d+)? ?kev")
# One of the two tubes or spectra of a dual-energy scan: "A_80kV", "B Sn140kV".
_ONE_TUBE = re.compile(r"\b[ab] (sn )?(sn)?\d{2,3} ?kv\b|\b(low|high) kv\b")
_KINDS = {
    LOCALIZER: "localizer",
    DERIVED: "projection, reformat or other derived pictures",
    OTHER: "no CT images (capture, dose report, annotation)",
}

FileRule = Callable[[SeriesFiles], str]
SliceRule = Callable[[SeriesFacts, SitePreferences], str]


def why_not_ct(series: SeriesFiles) -> str:
    """Tell that a series is not CT slices, by the kinds of its files."""
    if series.kind == SLICE:
        return "" if series.slices else _KINDS[LOCALIZER]
    if series.kind == DAMAGED:
        return next(file.problem for file in series.files if file.problem)
    return _KINDS.get(series.kind, series.kind)


def why_not_chest(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that words name another body part."""
    if facts.chest_words:
        return ""
    return f"another body part by its words ({', '.join(sorted(facts.regions - {'chest'}))})"


def why_spectral(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that a series is a map of materials or energies, or one spectrum of two."""
    words = plain_words(facts.labels.description)
    if energy := _KEV.search(words):
        low, high = preferences.mono_kev
        return "" if low <= int(energy[1]) <= high else "spectral map (monoenergetic)"
    if preferences.vocabulary.has("spectral", facts.labels.description):
        return "spectral map"
    return "one spectrum of a dual-energy scan" if _ONE_TUBE.search(words) else ""


def why_partial_by_words(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that words name a part of the field, a test of contrast or a needle's guidance."""
    is_partial = preferences.vocabulary.has("partial", facts.labels.description)
    return "part of the chest, contrast test or guidance by its words" if is_partial else ""


def why_few(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that there are too few slices."""
    return f"only {len(facts.slices)} slices" if len(facts.slices) < preferences.min_slices else ""


def why_not_axial(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that the slices do not lie across the body."""
    return "" if facts.is_axial else "not axial"


def why_no_stack(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell why the reader would refuse the slices: gaps, doubled places, mixed phases."""
    return facts.problem


def why_thick(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that slices are too thick or too far apart."""
    is_thick = facts.slab_mm > preferences.max_thickness_mm + 0.01
    return f"slices of {facts.slab_mm:.3g} mm, above {preferences.max_thickness_mm:g}" if is_thick else ""


def why_wrong_extent(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that a series covers too little or too much of the body."""
    if facts.extent_mm < preferences.min_extent_mm:
        return f"covers only {facts.extent_mm:.0f} mm of the body"
    if facts.extent_mm > preferences.max_extent_mm:
        return f"covers {facts.extent_mm:.0f} mm of the body, far more than the chest"
    return ""


def why_small_field(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Tell that the field of view is smaller than a chest."""
    is_small = facts.field_mm < preferences.min_field_mm
    return f"a field of view of {facts.field_mm:.0f} mm, below {preferences.min_field_mm:g}" if is_small else ""


FILE_RULES: tuple[FileRule, ...] = (why_not_ct,)
SLICE_RULES: tuple[SliceRule, ...] = (
    why_spectral,
    why_not_chest,
    why_partial_by_words,
    why_few,
    why_not_axial,
    why_no_stack,
    why_thick,
    why_wrong_extent,
    why_small_field,
)


def first_reason(series: SeriesFiles) -> str:
    """Return the first rule's reason against a series by its files; empty if there is none."""
    return next((reason for rule in FILE_RULES if (reason := rule(series))), "")


def first_reason_of_slices(facts: SeriesFacts, preferences: SitePreferences) -> str:
    """Return the first rule's reason against a series by its slices; empty if there is none."""
    return next((reason for rule in SLICE_RULES if (reason := rule(facts, preferences))), "")
