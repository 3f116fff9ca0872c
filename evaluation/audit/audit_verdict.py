"""Decide in plain words whether a model reads the image; in doubt, it is not said."""

from collections.abc import Mapping
from dataclasses import dataclass

from .audit_effects import Effect

READS, DOES_NOT_READ, CANNOT_TELL = "reads the image", "does not read the image", "cannot tell"
CLEAR = 0.1  # an effect is clear if its interval lies above this
SMALL = 0.3  # an interval that covers 0 and reaches higher than this decides nothing
MOST_FAILURES = 0.1  # share of the scans
GATES = (
    "paired_effect",
    "beyond_another_finding",
    "beyond_the_same_change_elsewhere",
    "beyond_the_same_values_scattered",
)
FEWEST = 8  # phantoms or scans; with fewer, a bootstrap interval is too narrow


@dataclass(frozen=True)
class Verdict:
    """One of `READS`, `DOES_NOT_READ` and `CANNOT_TELL`, and the reason as a sentence."""

    verdict: str
    reason: str


def decide(effects: Mapping[str, Effect], num_scans: int, num_failed: int) -> Verdict:
    """Decide by the intervals of the effects of `measure_effects`.

    A model reads the image if its statements follow the drawn findings clearly, by more than any change elsewhere
    explains: than that of another finding, than the same change of the image at another place, and than its values
    scattered over like tissue.
    """
    paired, drawn, elsewhere = effects["paired_effect"], effects["drawn_effect"], effects["elsewhere_effect"]
    weakest = min((effects[name] for name in GATES if name in effects), key=lambda one: (_low(one), _high(one)))
    if num_failed > MOST_FAILURES * num_scans:
        return Verdict(CANNOT_TELL, f"It gave no report of {num_failed} of {num_scans} scans.")
    if paired.value is None or paired.n < FEWEST:
        return Verdict(CANNOT_TELL, f"{paired.n} phantoms or scans are too few; {FEWEST} are the least.")
    if _low(paired) > CLEAR and _low(drawn) > _high(elsewhere) and _low(weakest) > 0:
        return Verdict(READS, f"Its statements follow what is drawn: effect {shown(paired)}. {_sides(effects)}")
    if _low(weakest) > 0:
        return Verdict(CANNOT_TELL, f"There is an effect, but a weak one: {shown(paired)}.")
    if _high(paired) < -CLEAR:
        return Verdict(CANNOT_TELL, f"It states findings rather where they are not drawn: effect {shown(paired)}.")
    if _high(weakest) > SMALL:
        return Verdict(CANNOT_TELL, f"The interval is too wide: effect {shown(weakest)}; take more phantoms or scans.")
    return Verdict(DOES_NOT_READ, _manner(effects, weakest))


def _manner(effects: Mapping[str, Effect], weakest: Effect) -> str:
    """Describe how the text of a model that does not read the image behaves."""
    if not effects["text_change"].value:
        return "Its report stays the same, whatever is drawn."
    if _low(effects["paired_effect"]) > 0:
        return f"Its statements follow changed values wherever they lie: effect beyond that {shown(weakest)}."
    return f"Its text changes with the image, but not with what is drawn: effect {shown(effects['paired_effect'])}."


def _sides(effects: Mapping[str, Effect]) -> str:
    sides = effects["side_following"]
    if sides.value is None:
        return "No finding had a side to swap."
    if _low(sides) > CLEAR:
        return f"The sides follow as well: {shown(sides)}."
    return f"That it sees the side is not shown: {shown(sides)}."


def shown(effect: Effect) -> str:
    """Return an effect as text: value and interval."""
    if effect.value is None or effect.low is None or effect.high is None:
        return "none"
    return f"{effect.value:.2f} [{effect.low:.2f}, {effect.high:.2f}]"


def _low(effect: Effect) -> float:
    return float("-inf") if effect.low is None else effect.low


def _high(effect: Effect) -> float:
    return float("inf") if effect.high is None else effect.high
