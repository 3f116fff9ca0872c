"""Make the tables at the end of an evaluation: the model by metric, then the model and every floor as rows."""

from collections.abc import Collection, Iterator, Mapping

from rich.box import SIMPLE
from rich.table import Table

from argus_inference.console.terminal import escape_name

from ..floors.floor_list import FLOORS, missing_floors, title_of
from .evaluation_results import EvaluationResults, MetricValue
from .scored_scans import ScoredScans

# Metrics by heading, in the groups of the tables of floors: findings and labels, their places, words, models' metrics.
METRIC_GROUPS: tuple[dict[str, str], ...] = (
    {
        "finding F1": "finding_f1",
        "macro F1": "macro_f1",
        "laterality": "laterality_accuracy",
        "label F1 (macro)": "label F1 (macro)",
        "CRG": "CRG",
    },
    {
        "side agreement": "side agreement",
        "lobe agreement": "lobe agreement",
        "size agreement": "size agreement",
    },
    {
        "BLEU-1": "BLEU-1",
        "BLEU-4": "BLEU-4",
        "ROUGE-L": "ROUGE-L",
        "METEOR": "METEOR",
        "CIDEr": "CIDEr",
        "Avg. NLP": "Avg. NLP",
    },
    {
        "RadGraph (X-ray)": "RadGraph-XL partial",
        "GREEN (X-ray)": "GREEN",
        "RaTEScore (X-ray)": "RaTEScore",
        "CRIMSON (X-ray)": "CRIMSON",
        "RadMatch actionable errors": "RadMatch actionable errors",
    },
)
METRIC_ROWS = {heading: name for group in METRIC_GROUPS for heading, name in group.items()}
MISSING = "missing"
MODEL_ROW = "model"


def build_table(results: EvaluationResults) -> Table:
    """Build a rich table of the model's values, each beside the highest of the floors and the test of the two.

    Shares are from 0 to 1; the other scores are as in `METRICS`. A dash is a score that is not defined; "missing" is a
    metric that could not be computed on this machine. A metric that was not asked for has no row.
    """
    caption = ", ".join(f"{count} {name}" for name, count in results.counts.items())
    caption = f"{results.n_test} reports; {caption}"
    if results.unreadable:
        caption += f"; {len(results.unreadable)} scans could not be read and are not in the scores"
    title = escape_name(f"{results.subset} {results.split}, model {results.model_hash[:12]}")
    if results.provenance is not None and results.provenance.limits:
        caption += f"; the model was {results.provenance.limits.partition(':')[0]}"
    if lacking := missing_floors(results.controls):
        caption += f". {lacking}"
    table = Table(title=title, caption=caption)
    table.add_column("")
    for heading in (MODEL_ROW, "95% interval", "best floor"):
        table.add_column(heading, justify="right")
    table.add_column("floor")
    table.add_column("p", justify="right")
    for label, name in METRIC_ROWS.items():
        if own := results.metrics.get(name):
            table.add_row(label, f"[bold]{_cell(own)}", _interval(own), *_best_floor(results, name))
    return table


def _best_floor(results: EvaluationResults, name: str) -> tuple[str, str, str]:
    """Return the highest value of a metric among the floors, that floor, and the p-value of its difference."""
    values = {floor: _of_floor(results, floor, name) for floor in results.controls}
    known = {floor: value for floor, value in values.items() if value is not None and value.value is not None}
    if not known:
        return "", "", ""
    best = max(known, key=lambda floor: known[floor].value or 0.0)
    test = results.controls[best].tests.get(name)
    return _cell(known[best]), title_of(best), "" if test is None else f"{test.p_value:.4f}"


def result_tables(results: EvaluationResults) -> list[Table]:
    """Build all tables of an evaluation."""
    return [build_table(results), *build_floor_tables(results), *build_section_tables(results)]


def build_floor_tables(results: EvaluationResults) -> list[Table]:
    """Build rich tables with the model and every floor as rows: one for each group of metrics that was computed."""
    rows = {title_of(floor): results.controls[floor].metrics for floor in floors_in_order(results)}
    return _tables_of({MODEL_ROW: results.metrics} | rows)


def build_section_tables(results: EvaluationResults) -> list[Table]:
    """Build rich tables with whole reports, findings and impression as rows, if the references tell them apart."""
    rows = {name: part.metrics for name, part in results.sections.items()}
    return _tables_of({"whole report": results.metrics} | rows, set(rows["findings"])) if rows else []


def _tables_of(rows: Mapping[str, Mapping[str, MetricValue]], shown: Collection[str] | None = None) -> list[Table]:
    """Return a table for each group of metrics with the rows' values; the first row has every metric."""
    first = next(iter(rows.values()))
    tables = []
    for group in METRIC_GROUPS:
        names = {heading: name for heading, name in group.items() if name in first and (not shown or name in shown)}
        if names:
            table = Table("", box=SIMPLE, pad_edge=False)
            for heading in names:
                table.add_column(heading, justify="right")
            for row, metrics in rows.items():
                table.add_row(row, *(_cell(metrics.get(name)) for name in names.values()))
            tables.append(table)
    return tables


def floors_in_order(results: EvaluationResults) -> list[str]:
    """Return the floors that results hold, in the order of `FLOORS`, others last."""
    return sorted(results.controls, key=lambda name: list(FLOORS).index(name) if name in FLOORS else len(FLOORS))


def signature_lines(results: EvaluationResults) -> Iterator[str]:
    """Yield one line for each metric: its name, value with interval, and signature; or the reason why it is missing."""
    for name, metric in results.metrics.items():
        if metric.missing:
            yield f"{name}: {MISSING}: {metric.missing}"
            continue
        counts = "".join(f", {count} {event}" for event, count in metric.counts.items() if count)
        interval = "" if metric.low is None else f" ({_text(metric, metric.low, 2)} to {_text(metric, metric.high, 2)})"
        yield f"{name}: {_text(metric, metric.value, 2)}{interval}{counts}  {metric.signature}"


def floor_lines(results: EvaluationResults) -> Iterator[str]:
    """Yield one line for each floor with what decided its reports, then the test set's hashes."""
    for name, signature in results.floor_signatures.items():
        yield f"{title_of(name)}: {signature}"
    if results.scans is not None:
        yield test_set_line(results.scans)


def test_set_line(scans: ScoredScans) -> str:
    """Return in one line which scans numbers are of."""
    ids, references = scans.ids_sha256[:16], scans.references_sha256[:16]
    return f"test set: {len(scans.scans)} scans, SHA-256 of ids {ids}, of references {references}"


def _of_floor(results: EvaluationResults, floor: str, name: str) -> MetricValue | None:
    return results.controls[floor].metrics.get(name)


def _cell(metric: MetricValue | None) -> str:
    """Format one score."""
    if metric is None:
        return ""
    return MISSING if metric.missing else _text(metric, metric.value, 1)


def _interval(metric: MetricValue) -> str:
    """Format one score's confidence interval; the text is empty if there is none."""
    return "" if metric.low is None else f"{_text(metric, metric.low, 1)}-{_text(metric, metric.high, 1)}"


def _text(metric: MetricValue, value: float | None, digits: int) -> str:
    """Format a number of a metric; a share, which is at most 1, has three digits."""
    return "-" if value is None else f"{value:.{3 if metric.scale == 1 else digits}f}"
