"""Computation of all numbers of an evaluation from its stored reports, without a model or data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from argus_inference.console.progress import progress_bar

from ..metrics.metric import Metric, MetricScores, average, score_rows
from ..metrics.nlp_metrics import AVERAGES, METRICS
from ..metrics.phantom_truth import Finding, resample_findings, score_findings
from ..metrics.significance import confidence_interval, draw_reports
from .stored_reports import MODEL, StoredReport

Scores = dict[str, MetricScores | str]  # by metric; a text gives the reason why a score is missing


def score_stored(reports: Sequence[StoredReport], metrics: Mapping[str, Metric] = METRICS) -> dict[str, Any]:
    """Score the reports of a model and of its controls.

    Args:
        reports: reports that `argus evaluate` stored, one for each scan.
        metrics: metrics by name, as in `METRICS`.

    Returns `n_test`, `counts`, the model's own scores, and `controls` with the same scores by control. Scores are
    `metrics` with `{"value", "signature", "low", "high"}` by name (a missing one has the value None, and `missing` says
    what to install) and, if the findings are known, the result of `score_findings` with `intervals`.
    """
    rows = {name: [report.reports[name] for report in reports] for name in reports[0].reports}
    references = [report.reference for report in reports]
    truths = None if reports[0].findings is None else [report.findings for report in reports]
    scored = compute_scores(rows, references, metrics)
    draws = draw_reports(len(reports))
    described = {
        name: {**describe_findings(rows[name], truths, draws), "metrics": describe_scores(scores, metrics, draws)}
        for name, scores in scored.items()
    }
    model = described.pop(MODEL)
    return {
        "n_test": len(reports),
        **model,
        "counts": count_reports(reports) | {"unparsed": _count_unparsed(scored[MODEL])},
        "controls": described,
    }


def compute_scores(
    rows: Mapping[str, Sequence[str]], references: Sequence[str], metrics: Mapping[str, Metric] = METRICS
) -> dict[str, Scores]:
    """Return every row's scores by metric, and the averages over metrics; a missing score is a text with the reason."""
    scored: dict[str, Scores] = {name: {} for name in rows}
    with progress_bar() as progress:
        for name, metric in progress.track(metrics.items(), description="scores"):
            reason = metric.missing()
            done = dict.fromkeys(rows, reason) if reason else score_rows(metric, rows, references)
            for row, scores in done.items():
                scored[row][name] = scores
    for row in scored.values():
        row |= {name: _average(row, parts) for name, parts in AVERAGES.items() if set(parts) <= set(metrics)}
    return scored


def score_nlp(predictions: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return `{name: {"value", "signature", "per_report"}}` for every metric of `METRICS` and their averages.

    A missing metric has the value None and no `per_report`; its `missing` says what to install.

    Raises:
        ValueError: if there are no reports, or the numbers of predictions and references differ.
    """
    described: dict[str, dict[str, Any]] = {}
    for name, found in compute_scores({MODEL: predictions}, references)[MODEL].items():
        signature = signature_of(name, METRICS)
        if isinstance(found, str):
            described[name] = {"value": None, "signature": signature, "missing": found}
        else:
            described[name] = {"value": found.value, "signature": signature, "per_report": found.per_report.tolist()}
    return described


def _average(scores: Scores, parts: Sequence[str]) -> MetricScores | str:
    present = [scores[part] for part in parts if not isinstance(scores[part], str)]
    if len(present) == len(parts):
        return average(present)
    return "; ".join(scores[part] for part in parts if isinstance(scores[part], str))


def signature_of(name: str, metrics: Mapping[str, Metric]) -> str:
    """Return the signature of a metric or of an average."""
    return f"mean of {', '.join(AVERAGES[name])}" if name in AVERAGES else metrics[name].signature


def describe_scores(scores: Scores, metrics: Mapping[str, Metric], draws: Any) -> dict[str, dict[str, Any]]:
    """Return the results' entry for every metric; `draws` come from `draw_reports`."""
    described: dict[str, dict[str, Any]] = {}
    for name, found in scores.items():
        signature = signature_of(name, metrics)
        if isinstance(found, str):
            described[name] = {"value": None, "signature": signature, "missing": found}
            continue
        low, high = confidence_interval(found, draws)
        described[name] = {"value": found.value, "signature": signature, "low": low, "high": high}
        if found.flags:
            described[name]["counts"] = found.counts
    return described


def describe_findings(reports: Sequence[str], truths: Sequence[Sequence[Finding]] | None, draws: Any) -> dict[str, Any]:
    """Return the finding scores with their intervals; an empty mapping if the true findings are not known."""
    if truths is None:
        return {}
    resampled = resample_findings(reports, truths)
    intervals = {name: list(confidence_interval(scores, draws)) for name, scores in resampled.items()}
    return {**score_findings(reports, truths), "intervals": intervals}


def count_reports(reports: Sequence[StoredReport]) -> dict[str, int]:
    """Count the reports that are empty, that repeat an earlier one word for word, and that the limit cut."""
    texts = [report.reports[MODEL] for report in reports]
    return {
        "empty": sum(not text.strip() for text in texts),
        "duplicate": len(texts) - len(set(texts)),
        "truncated": sum(report.truncated for report in reports),
    }


def _count_unparsed(scores: Scores) -> int:
    """Count, over metrics, the answers of judging models that could not be parsed (flag `unparsed`)."""
    return sum(found.counts.get("unparsed", 0) for found in scores.values() if not isinstance(found, str))
