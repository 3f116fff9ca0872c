"""Compute RaTEScore: compare each medical entity of a report with the reference's nearest, weighted by types.

Zhao et al., "RaTEScore: A Metric for Radiology Report Generation" (EMNLP 2024). Argus computes it itself, because the
package `RaTEScore` needs medspacy, whose usual installation on Python 3.11 cannot be imported with numpy 2, and because
there a report without a sentence shifts all pairs after it. Where the package is installed it can be asked instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..metric import Metric, MetricScores, mean_of_reports
from .clinical_answers import ClinicalModel, KeptModel, pair_up
from .clinical_weights import ClinicalOptions, MissingWeightsError, Weights, identify, missing_metric
from .rate_model import SPLITTER, RateModel
from .rate_package import PackagedRateModel, missing_package, sign_package

ENTITY_WEIGHTS = Weights("Angelakeke/RaTE-NER-Deberta", "RaTE-NER-Deberta")
EMBEDDING_WEIGHTS = Weights("FremyCompany/BioLORD-2023-C", "BioLORD-2023-C")
NAME = "RaTEScore"


@dataclass(frozen=True)
class RateBackend:
    """Code that computes RaTEScore from the two networks' weights.

    Attributes:
        load: makes the model from (folder that tags, folder that embeds, batch size).
        sign: gives its part of the signature.
        missing: gives one line that says what to install, or None if it can be loaded.
    """

    load: Callable[[Path, Path, int], ClinicalModel]
    sign: Callable[[], str]
    missing: Callable[[], str | None]


BACKENDS: dict[str, RateBackend] = {
    "argus": RateBackend(RateModel, lambda: f"argus:1|affinity:long|sentences:{SPLITTER}", lambda: None),
    "package": RateBackend(PackagedRateModel, sign_package, missing_package),
}


def score_entities(predictions: Sequence[str], references: Sequence[str], model: ClinicalModel) -> MetricScores:
    """Compute RaTEScore (0 to 100); flags mark the pairs with no entity on a side, or on both (each scores 50)."""
    answers = model.answer(pair_up(predictions, references))
    found = [answer["entities"] for answer in answers]
    flags = {
        "no_entity": [not all(sides) for sides in found],
        "no_entity_on_both_sides": [not any(sides) for sides in found],
    }
    return mean_of_reports([100.0 * answer["score"] for answer in answers], flags)


def rate_metrics(options: ClinicalOptions) -> dict[str, Metric]:
    """Return RaTEScore with the affinities for long reports, computed by the backend that the options name.

    Raises:
        ValueError: if there is no such backend.
    """
    if options.rate_backend not in BACKENDS:
        raise ValueError(f"no backend {options.rate_backend!r} of RaTEScore; there are {', '.join(BACKENDS)}")
    backend = BACKENDS[options.rate_backend]
    unsigned = f"rate|models:{ENTITY_WEIGHTS.repo_id},{EMBEDDING_WEIGHTS.repo_id}"
    if reason := backend.missing():
        return {NAME: missing_metric(unsigned, reason)}
    try:
        entity_path, embedding_path = ENTITY_WEIGHTS.find(options), EMBEDDING_WEIGHTS.find(options)
    except MissingWeightsError as error:
        return {NAME: missing_metric(unsigned, str(error))}
    entity, embedding = identify(entity_path), identify(embedding_path)
    signature = (
        f"rate|{backend.sign()}|entities:{ENTITY_WEIGHTS.repo_id},{entity}"
        f"|embeddings:{EMBEDDING_WEIGHTS.repo_id},{embedding}"
    )
    load = partial(backend.load, entity_path, embedding_path, options.batch_size)
    model = KeptModel(options.answers, signature, NAME, load)
    return {NAME: Metric(partial(score_entities, model=model), f"{signature}|level:mean of reports|x100")}
