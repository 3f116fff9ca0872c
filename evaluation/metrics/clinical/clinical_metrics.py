"""List the clinical metrics: RadGraph-XL, GREEN and RaTEScore by models, labels by rules, stand-ins for models.

To add one, write a file with a function from `ClinicalOptions` to metrics, and add its line to `CLINICAL_METRICS`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..labels import label_metrics
from ..metric import Metric
from . import green_metric, radgraph_metric, rate_metric, stand_ins
from .clinical_weights import ClinicalOptions


@dataclass(frozen=True)
class ClinicalMetric:
    """The metrics of one model.

    Attributes:
        names: names of its rows in a table.
        build: function that makes the metrics; the field `missing` of each says what is not there.
    """

    names: tuple[str, ...]
    build: Callable[[ClinicalOptions], dict[str, Metric]]


CLINICAL_METRICS: dict[str, ClinicalMetric] = {
    "radgraph": ClinicalMetric(radgraph_metric.NAMES, radgraph_metric.radgraph_metrics),
    "green": ClinicalMetric((green_metric.NAME,), green_metric.green_metrics),
    "rate": ClinicalMetric((rate_metric.NAME,), rate_metric.rate_metrics),
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
    return {name: metric for entry in chosen for name, metric in entry.build(options).items()}
