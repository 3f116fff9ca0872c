"""Score findings read by rules, as marked stand-ins for clinical metrics on a machine without their weights.

Each has "stand-in" in its name, because its values are not values of the metric that it replaces. The rules know
CT-RATE's 18 labels in the words of phantoms.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from ..metric import Metric, MetricScores
from ..phantom_truth import score_findings
from ..report_findings import extract_findings
from .clinical_weights import ClinicalOptions

# name -> score of `score_findings`
STAND_INS = {
    "stand-in for GREEN: finding F1 (rules)": "finding_f1",
    "stand-in for RadGraph-XL: finding and side F1 (rules)": "finding_side_f1",
    "stand-in for RaTEScore: finding, side and place F1 (rules)": "finding_place_f1",
}
NAMES = tuple(STAND_INS)
SIGNATURE = "argus findings|rules on report and reference|stand-in"


def stand_in_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return the stand-ins; they need no weights."""
    return {name: Metric(_score_by(finding), SIGNATURE, scale=1) for name, finding in STAND_INS.items()}


def _score_by(name: str) -> Callable[[Sequence[str], Sequence[str]], MetricScores]:
    return lambda predictions, references: score_by_rules(tuple(predictions), tuple(references))[name]


@lru_cache(maxsize=4)  # every stand-in asks for the same pairs
def score_by_rules(predictions: tuple[str, ...], references: tuple[str, ...]) -> dict[str, MetricScores]:
    """Score reports as `score_findings` does, with the findings that the rules read in the references as truth."""
    truths = {reference: tuple(extract_findings(reference)) for reference in dict.fromkeys(references)}
    return score_findings(predictions, [truths[reference] for reference in references])
