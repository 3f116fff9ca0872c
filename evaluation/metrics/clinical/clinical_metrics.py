"""List the clinical metrics: by models, by their authors' packages, labels by rules, stand-ins for models.

To add one, write a file with a function from `ClinicalOptions` to metrics, and add its line to `CLINICAL_METRICS`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ..judged.crimson_metric import CRIMSON
from ..judged.radmatch_metric import RADMATCH
from ..labels import label_metrics
from ..metric import Metric
from ..radeval import radeval_metric
from . import green_metric, radgraph_metric, rate_metric, stand_ins
from .clinical_weights import ClinicalOptions


@dataclass(frozen=True)
class ClinicalMetric:
    """The metrics of one model.

    Attributes:
        names: names of its rows in a table.
        build: function that makes the metrics; the field `missing` of each says what is not there.
        made_on: kind of images whose reports it was made on, if not CT; each signature tells it.
    """

    names: tuple[str, ...]
    build: Callable[[ClinicalOptions], dict[str, Metric]]
    made_on: str = ""

    def metrics(self, options: ClinicalOptions) -> dict[str, Metric]:
        """Return the metrics, each with a signature that tells what it was made on."""
        told = f"|made on {self.made_on}" if self.made_on else ""
        return {
            name: replace(metric, signature=metric.signature + told) for name, metric in self.build(options).items()
        }


X_RAYS = "X-rays"

CLINICAL_METRICS: dict[str, ClinicalMetric] = {
    "radgraph": ClinicalMetric(radgraph_metric.NAMES, radgraph_metric.radgraph_metrics, X_RAYS),
    "green": ClinicalMetric((green_metric.NAME,), green_metric.green_metrics, X_RAYS),
    "rate": ClinicalMetric((rate_metric.NAME,), rate_metric.rate_metrics, X_RAYS),
    "crimson": ClinicalMetric(tuple(CRIMSON.scores), CRIMSON.metrics, X_RAYS),
    "radmatch": ClinicalMetric(tuple(RADMATCH.scores), RADMATCH.metrics),
    "radeval": ClinicalMetric(radeval_metric.NAMES, radeval_metric.radeval_metrics),
    "radeval-models": ClinicalMetric(radeval_metric.MODEL_NAMES, radeval_metric.radeval_model_metrics),
    "labels": ClinicalMetric(label_metrics.NAMES, label_metrics.label_metrics),
    "stand-in": ClinicalMetric(stand_ins.NAMES, stand_ins.stand_in_metrics),
}


def clinical_metrics(keys: Collection[str], options: ClinicalOptions) -> dict[str, Metric]:
    """Return the metrics with the given keys, in the order of `CLINICAL_METRICS`; no model is loaded yet.

    Raises:
        ValueError: if a key is not one of `CLINICAL_METRICS`.
    """
    if unknown := sorted(set(keys) - set(CLINICAL_METRICS)):
        raise ValueError(f"no clinical metric {', '.join(unknown)}; there are {', '.join(CLINICAL_METRICS)}")
    chosen = [entry for key, entry in CLINICAL_METRICS.items() if key in keys]
    return {name: metric for entry in chosen for name, metric in entry.metrics(options).items()}
