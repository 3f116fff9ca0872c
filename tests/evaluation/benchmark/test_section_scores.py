import io

import pytest
from rich.console import Console

from argus_evaluation.benchmark.evaluation_results import EvaluationResults
from argus_evaluation.benchmark.results_table import build_section_tables, build_table, result_tables
from argus_evaluation.benchmark.scoring import score_nlp, score_stored
from argus_evaluation.benchmark.stored_reports import StoredReport
from argus_evaluation.metrics.metric import Metric, mean_of_reports
from argus_evaluation.metrics.nlp_metrics import METRICS

CHOSEN = {name: METRICS[name] for name in ("BLEU-1", "ROUGE-L", "CIDEr")}
FINDINGS = ["The lungs are clear.", "There is a nodule in the right lung.", "The heart is enlarged."]
IMPRESSIONS = ["Normal chest CT.", "Right lung nodule.", "Cardiomegaly."]
TOLD = ["The lungs are clear.", "There is a nodule.", "The heart is normal."]
BRIEF = ["Normal chest.", "Right nodule.", "Normal chest CT."]


def report(findings: str, impression: str) -> str:
    return f"Findings: {findings}\nImpression: {impression}"


def stored(rows: dict[str, list[str]], references: list[str]) -> list[StoredReport]:
    return [
        StoredReport(f"s{at}", true, {name: texts[at] for name, texts in rows.items()}, False)
        for at, true in enumerate(references)
    ]


@pytest.fixture(scope="module")
def scores():
    references = list(map(report, FINDINGS, IMPRESSIONS))
    own = [report(*each) for each in zip(TOLD[:2], BRIEF[:2], strict=True)] + [TOLD[2]]
    return score_stored(stored({"model": own, "normal": [references[0]] * 3}, references), CHOSEN)


def test_each_section_is_scored_as_if_the_other_were_not_there(scores):
    findings, impression = scores.sections["findings"], scores.sections["impression"]
    for name in CHOSEN:
        assert findings.metrics[name].value == score_nlp(TOLD, FINDINGS)[name].scores.value
        # The last report has no head: it is all findings, and its impression is empty.
        assert impression.metrics[name].value == score_nlp([*BRIEF[:2], ""], IMPRESSIONS)[name].scores.value
    assert impression.without == {"model": 1, "normal": 0}
    floor = impression.controls["normal"].metrics["BLEU-1"].value
    assert floor == score_nlp([IMPRESSIONS[0]] * 3, IMPRESSIONS)["BLEU-1"].scores.value
    assert set(findings.controls["normal"].tests) == set(CHOSEN)


def test_references_without_sections_are_scored_whole_only(scores):
    references = [*map(report, FINDINGS[:2], IMPRESSIONS[:2]), FINDINGS[2]]
    assert score_stored(stored({"model": TOLD}, references), CHOSEN).sections == {}
    assert set(scores.sections) == {"findings", "impression"}


def test_a_metric_that_may_need_a_model_is_left_to_whole_reports():
    references = list(map(report, FINDINGS, IMPRESSIONS))
    metrics = {"GREEN": Metric(lambda own, true: mean_of_reports([1.0] * len(own)), "green")}
    scored = score_stored(stored({"model": references}, references), metrics)
    assert scored.metrics["GREEN"].value == 1.0 and scored.sections == {}


def shown(tables) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


def test_the_tables_have_a_row_for_each_section_and_floor_and_name_lacks(scores):
    results = EvaluationResults(**vars(scores), model_hash="ab", subset="phantom", split="test")
    text = shown(build_section_tables(results))
    assert [line.split("  ")[0].strip() for line in text.splitlines() if line.strip()][-3:] == [
        "whole report",
        "findings",
        "impression",
    ]
    whole = shown(result_tables(results))
    assert "constant normal report" in whole and "label to text" in " ".join(whole.split())
    first = shown([build_table(results)])
    test = scores.controls["normal"].tests["BLEU-1"]
    assert f"{test.p_value:.4f}" in first and f"{scores.controls['normal'].metrics['BLEU-1'].value:.1f}" in first
