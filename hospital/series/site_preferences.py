"""Load a site's preferences for the choice of a series from a YAML file."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from argus_processing.storage.foreign_files import read_yaml_object
from argus_processing.storage.typed_json import from_json

from .series_words import KERNELS, PHASES, Vocabulary, known_languages, known_topics, vocabulary_of


@dataclass(frozen=True)
class SitePreferences:
    """A site's preferences for the series that is read.

    Attributes:
        phases: phases of contrast, most wanted first: native, pulmonary, arterial, venous, contrast (any). Default: no
            preference.
        kernels: sharpness, most wanted first.
        thickness_mm: the thickness and distance of slices that is wanted.
        max_thickness_mm: above it, a series is refused.
        thin_mm: up to here a series counts as thin, and any thin one is preferred to any thicker one.
        min_extent_mm, max_extent_mm: length along the body.
        chest_extent_mm: above it, a series is taken to show more than the chest and ranks lower.
        min_field_mm: smallest side of a slice; smaller ones are targeted reconstructions.
        min_slices: fewest slices.
        mono_kev: lowest and highest energy of monoenergetic images that are read; others count as spectral maps.
        languages: languages of the words, English always among them. Default: all that are known.
        words: words to add, by topic of `words.yaml`.
        kernel_names: names of kernels, with soft, lung or bone each.
    """

    phases: tuple[str, ...] = ()
    kernels: tuple[str, ...] = KERNELS
    thickness_mm: float = 1.5
    max_thickness_mm: float = 5.0
    thin_mm: float = 3.0
    min_extent_mm: float = 150.0
    max_extent_mm: float = 800.0
    chest_extent_mm: float = 500.0
    min_field_mm: float = 250.0
    min_slices: int = 20
    mono_kev: tuple[float, ...] = (65.0, 75.0)
    languages: tuple[str, ...] = ()
    words: dict[str, list[str]] = field(default_factory=dict)
    kernel_names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        _check_known("phases", self.phases, PHASES)
        _check_known("kernels", self.kernels, KERNELS)
        _check_known("languages", self.languages, known_languages())
        _check_known("words", tuple(self.words), known_topics())
        _check_known("kernel_names", tuple(self.kernel_names.values()), KERNELS)
        if len(self.mono_kev) != 2:
            raise ValueError(f"mono_kev is a lowest and a highest energy, got {len(self.mono_kev)} numbers")
        if any("*" in word[:-1] or not word.strip("* ") for words in self.words.values() for word in words):
            raise ValueError("words: a word may end in *, and holds letters before it")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Return the words that the preferences ask for."""
        return vocabulary_of(self.languages, self.words)


def _check_known(name: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if unknown := [value for value in given if value not in known]:
        raise ValueError(f"{name}: unknown {', '.join(map(repr, unknown))}; known: {', '.join(known)}")


def load_preferences(path: Path | None) -> SitePreferences:
    """Load preferences from a YAML file; without one, return the defaults.

    Raises:
        ValueError: if the file is no YAML, or a setting is unknown or of another type; one line with the file.
    """
    if path is None:
        return SitePreferences()
    content = read_yaml_object(path)
    try:
        return from_json(SitePreferences, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
