"""Choose the chest CT of a study, and tell for every other series why it is not read."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from argus_processing.dicom_slices import DicomSlice

from .lungs_seen import why_no_lungs
from .series_facts import SeriesFacts, SeriesFiles, facts_of, series_of_study
from .series_ranking import rank_of, why_behind
from .series_rules import first_reason, first_reason_of_slices
from .site_preferences import SitePreferences
from .study_files import StudyFile

CHOSEN, LOWER, REFUSED = "chosen", "lower", "refused"
Look = Callable[[Sequence[DicomSlice], Path], str]


class NoSeriesError(ValueError):
    """Error of a study in which no series is a chest CT to read; one line with the reasons."""


@dataclass(frozen=True)
class SeriesVerdict:
    """The verdict on one series: `state` is chosen, lower (it might be read) or refused; `reason` tells why."""

    name: str
    number: int | None
    num_files: int
    state: str
    reason: str


@dataclass(frozen=True)
class SeriesChoice:
    """The verdicts on a study's series, in their order, and the files of the one to read."""

    verdicts: tuple[SeriesVerdict, ...]
    chosen: SeriesFiles | None

    @property
    def verdict(self) -> SeriesVerdict:
        """Return the verdict on the chosen series.

        Raises:
            NoSeriesError: if none is chosen.
        """
        name = self.files.name
        return next(verdict for verdict in self.verdicts if verdict.name == name)

    @property
    def files(self) -> SeriesFiles:
        """Return the files of the chosen series.

        Raises:
            NoSeriesError: if none is chosen.
        """
        if self.chosen is None:
            raise NoSeriesError(f"no series is a chest CT to read: {self.refusals}")
        return self.chosen

    @property
    def refusals(self) -> str:
        """Return the reasons against the series, each with how often it occurs."""
        counts = Counter(verdict.reason for verdict in self.verdicts if verdict.state == REFUSED)
        return "; ".join(f"{count} x {reason}" for reason, count in counts.most_common()) or "no DICOM files"


def choose_series(
    files: Iterable[StudyFile], preferences: SitePreferences | None = None, look: Look = why_no_lungs
) -> SeriesChoice:
    """Choose the series of a study that shows the chest best, by its headers and by a look at some of its pixels.

    Args:
        files: of one study, as `read_study` reads them.
        preferences: a site's own. Default: `SitePreferences()`.
        look: tells from slices why they are no whole chest; empty if they are.

    Raises:
        NoSeriesError: if the slices are of several studies or patients.
    """
    preferences = preferences or SitePreferences()
    series = series_of_study(files)
    _check_one_study(series)
    reasons = {one.name: first_reason(one) for one in series}
    facts = {one.name: facts_of(one, preferences) for one in series if not reasons[one.name]}
    reasons |= {name: first_reason_of_slices(each, preferences) for name, each in facts.items()}
    ranks = {name: rank_of(each, preferences) for name, each in facts.items() if not reasons[name]}
    best = ""
    for name in sorted(ranks, key=lambda name: (ranks[name], list(facts).index(name))):
        reasons[name] = look(facts[name].slices, Path(name))
        if not reasons[name]:
            best = name
            break
    verdicts = tuple(_verdict(one, best, reasons[one.name], ranks, facts.get(one.name)) for one in series)
    return SeriesChoice(verdicts, next((one for one in series if one.name == best), None))


def choose_named(files: Iterable[StudyFile], name: str) -> SeriesChoice:
    """Choose the series that the user names by its UID, or by its number in the list (#3).

    Raises:
        NoSeriesError: if there is no such series, or it has no CT slices.
    """
    series = series_of_study(files)
    found = next((one for one in series if one.name == name), None)
    if found is None:
        raise NoSeriesError(f"no series is called {name}; argus series lists them")
    if reason := first_reason(found):
        raise NoSeriesError(f"the series {name} cannot be read: {reason}")
    verdict = SeriesVerdict(name, found.labels.number, len(found.files), CHOSEN, "named by the user")
    return SeriesChoice((verdict,), found)


def _check_one_study(series: list[SeriesFiles]) -> None:
    for place, what in enumerate(("studies", "patients")):
        known = {file.study[place] for one in series for file in one.files if file.slices} - {""}
        if len(known) > 1:
            raise NoSeriesError(f"holds CT slices of {len(known)} {what}; give a folder with one study")


def _verdict(
    series: SeriesFiles, best: str, reason: str, ranks: dict[str, tuple[float, ...]], facts: SeriesFacts | None
) -> SeriesVerdict:
    state = REFUSED if reason else CHOSEN if series.name == best else LOWER
    if state == LOWER:
        reason = f"might be read, ranks lower by: {why_behind(ranks[series.name], ranks[best])}"
    if state == CHOSEN and facts is not None:
        reason = describe(facts)
    return SeriesVerdict(series.name, series.labels.number, len(series.files), state, reason)


def describe(facts: SeriesFacts) -> str:
    """Describe a series that may be read in a few words, none of them from its header."""
    phase = f", {facts.phase}" if facts.phase else ""
    size = f"{len(facts.slices)} slices of {facts.slab_mm:.3g} mm, {facts.extent_mm:.0f} mm in all"
    return f"{facts.kernel} kernel{phase}, {size}"
