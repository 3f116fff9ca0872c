"""Read the first format of `results.json`, in which the findings' scores stood beside the metrics."""

from typing import Any

from ..metrics.phantom_truth import FINDING_METRICS, SIGNATURE

_NEEDED = {"subset", "split", "n_test", "model_hash", "metrics"}
_OF_SCORES = {"intervals", "per_label", "n_sided", "n_scans", "metrics", *FINDING_METRICS}
# The findings' metrics that were told label by label, and their names there.
_BY_LABEL = {"finding_f1": "f1", "precision": "precision", "recall": "recall"}
_METRIC = {"value", "signature", "low", "high", "missing", "counts"}


def from_first_format(content: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of a file to the present format; the findings' scores become metrics.

    Raises:
        ValueError: if something is missing, or is no mapping.
    """
    if missing := sorted(_NEEDED - content.keys()):
        raise ValueError(f"has no {', '.join(missing)}")
    rest = {name: value for name, value in content.items() if name not in _OF_SCORES}
    try:
        controls = {name: {"metrics": _metrics(scores)} for name, scores in content.get("controls", {}).items()}
        return rest | {"metrics": _metrics(content), "controls": controls}
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ValueError("holds scores that are not in the form of its format") from None


def _metrics(scores: dict[str, Any]) -> dict[str, Any]:
    findings = {name: _finding(name, scores) for name in FINDING_METRICS if name in scores}
    return findings | {name: _chosen(metric) for name, metric in scores["metrics"].items()}


def _chosen(metric: dict[str, Any]) -> dict[str, Any]:
    """Return a metric without what earlier versions kept beside it, such as each report's score."""
    return {name: value for name, value in metric.items() if name in _METRIC}


def _finding(name: str, scores: dict[str, Any]) -> dict[str, Any]:
    """Return a finding score as a metric; only two of them had an interval."""
    metric: dict[str, Any] = {"value": scores[name], "signature": SIGNATURE, "scale": 1}
    if interval := (scores.get("intervals") or {}).get(name):
        metric |= {"low": interval[0], "high": interval[1]}
    if name == "laterality_accuracy" and "n_sided" in scores:
        metric["counts"] = {"sided": scores["n_sided"]}
    if (key := _BY_LABEL.get(name)) and "per_label" in scores:
        metric["parts"] = {label: _part(rates, key) for label, rates in scores["per_label"].items()}
    return metric


def _part(rates: dict[str, Any], key: str) -> dict[str, Any]:
    return {"value": rates[key], "counts": {"present": rates["support"]}}
