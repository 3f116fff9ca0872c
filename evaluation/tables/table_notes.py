"""Write what stands under a table of results: reasons of missing numbers, seeds, signatures; and escape for LaTeX."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase

from ..floors.floor_list import missing_floors
from .run_columns import SubsetRuns, TableNumber, floors_of

_LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}"},
    **{">": r"\textgreater{}", "±": r"$\pm$", "×": r"$\times$"},
}
_MARKDOWN = {"|": r"\|", "\n": " "}


XRAY_METRICS = "GREEN, RaTEScore and RadGraph-XL were made on reports of X-rays, not of CT."


class Footnotes:
    """Reasons why numbers are missing; each has a letter, in order of first use."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def mark(self, reason: str) -> str:
        """Return the letters of a reason (a, b, ... z, aa, ab, ...); add a new reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return _letters(self.reasons.index(reason))

    def lines(self) -> list[tuple[str, str]]:
        """Return every mark with its reason."""
        return [(_letters(index), reason) for index, reason in enumerate(self.reasons)]

    def markdown(self) -> str:
        """Return the reasons as a list with a heading, or nothing if no number is missing."""
        lines = [f"- [{mark}] {_escape(reason, _MARKDOWN)}" for mark, reason in self.lines()]
        return "\n".join(["Missing:", "", *lines]) if lines else ""

    def latex(self) -> list[str]:
        """Return the reasons as lines of LaTeX."""
        return [rf"\textsuperscript{{{mark}}} {latex_text(reason)}.\\" for mark, reason in self.lines()]


def _letters(index: int) -> str:
    first, last = divmod(index, len(ascii_lowercase))
    return (ascii_lowercase[first - 1] if first else "") + ascii_lowercase[last]


def _escape(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(letter, letter) for letter in text)


def latex_text(text: str) -> str:
    """Escape a text for LaTeX."""
    return _escape(text, _LATEX)


def digits(number: TableNumber, value: float) -> str:
    """Format a value of a table's number; a share, which is at most 1, has three digits."""
    return f"{value:.{3 if number.scale == 1 else 2}f}"


def number_text(number: TableNumber) -> str:
    """Format the value that a number has, with its deviation over seeds."""
    if number.value is None:
        raise ValueError(f"the number is missing: {number.missing}")
    spread = "" if number.sd is None else f" ± {digits(number, number.sd)}"
    return digits(number, number.value) + spread


def seed_remarks(subsets: Iterable[SubsetRuns]) -> list[str]:
    """Return which numbers are means, and over which seeds."""
    places: dict[str, dict[str, list[str]]] = {}
    for runs in subsets:
        for (resolution, label), place in runs.columns.items():
            if len(place) > 1:
                seeds = ", ".join(each.seed for each in place)
                places.setdefault(seeds, {}).setdefault(f"{label} {resolution}", []).append(runs.subset)
    return [
        f"Mean ± sample standard deviation over the seeds {seeds}: {_places_text(by_name)}."
        for seeds, by_name in places.items()
    ]


def _places_text(by_name: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} ({', '.join(subsets)})" for name, subsets in by_name.items())


def floor_remarks(subsets: Iterable[SubsetRuns]) -> list[str]:
    """Return in one line for each lack which floors no run of a subset has, and one on those that are there."""
    lacks: dict[str, list[str]] = {}
    shown = False
    for runs in subsets:
        computed = floors_of(runs)
        shown = shown or bool(computed)
        if told := missing_floors(computed):
            lacks.setdefault(told, []).append(runs.subset)
    told_of = "A floor's number is the highest that was computed with any of the runs beside it."
    return [*([told_of] if shown else []), *(f"{', '.join(names)}: {told}" for told, names in lacks.items())]


def signature_lines(numbers: Iterable[tuple[str, TableNumber]]) -> list[str]:
    """Return each metric's signature; several for one metric get a warning that its numbers cannot be compared.

    Args:
        numbers: metric and number, of the whole table.
    """
    found: dict[str, set[str]] = {}
    for metric, number in numbers:
        if number.value is not None and number.signature:
            found.setdefault(metric, set()).add(number.signature)
    return [
        f"{metric}: {'COMPUTED DIFFERENTLY, do not compare: ' if len(signatures) > 1 else ''}"
        f"{'; '.join(sorted(signatures))}"
        for metric, signatures in found.items()
    ]
