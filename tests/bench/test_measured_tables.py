import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from measured_tables import (
    DEMO_COLUMNS,
    demo_table,
    fill,
    mae_table,
    preprocessing_table,
    read_demo,
    retrieval_table,
)
from serve_bench.bench_llama_cpp import parity_table, speed_table

from argus_evaluation.benchmark.evaluation_results import ControlResults, EvaluationResults, MetricValue, write_results
from argus_processing.storage.markdown_table import markdown_table
from argus_processing.storage.whole_files import write_json

ROOT = Path(__file__).parents[2]


def scores(f1: float, sided: float | None) -> dict[str, MetricValue]:
    shares = {"finding_f1": MetricValue(f1, "f", scale=1), "laterality_accuracy": MetricValue(sided, "l", scale=1)}
    return shares | {"BLEU-4": MetricValue(31.26, "b"), "ROUGE-L": MetricValue(50.0, "r")}


def test_tables_hold_the_files_numbers(tmp_path):
    results = EvaluationResults(
        metrics=scores(0.714, 0.9),
        controls={"shuffled": ControlResults(scores(0.2, None))},
        n_test=100,
        **{"model_hash": "ab", "subset": "phantom", "split": "test"},
    )
    write_results(tmp_path, results)
    with pytest.raises(ValueError, match="tells no time"):
        read_demo(tmp_path / "results.json")
    write_results(tmp_path, replace(results, seconds=700.2, peak_memory_mb=1500.0))
    table = demo_table(read_demo(tmp_path / "results.json"))
    assert "| tiny Argus | 0.71 | 0.90 | 31.3 | 50.0 |" in table
    assert "| shuffled images | 0.20 | - | 31.3 | 50.0 |" in table
    assert "100 scans, 700 s from nothing, 1.5 GB" in table
    row = {"argus_seconds": 0.5, "inflate_seconds": 0.3, "monai_seconds": 4.0, "times_faster": 8.0, "memory_share": 0.2}
    told = preprocessing_table({"summary": {"nr": row}})
    assert "| to the nr grid | 0.50 s | 0.30 s | 4.00 s | 8.0 | 20% of MONAI's |" in told


def test_pretraining_tables_hold_the_files_numbers():
    losses = {"num_scans": 64, "masked_loss": 0.2, "masked_loss_of_patch_means": 1.0, "ratio": 0.2}
    assert mae_table(losses).splitlines()[-1] == "| 64 | 0.200 | 1.000 | 0.200 |"
    recalls = {f"{way}_r@{k}": k / 100 for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    table = retrieval_table({"num_scans": 64, "chance_r@1": 1 / 64} | recalls)
    assert "| image to text | 0.010 | 0.050 | 0.100 |" in table
    assert table.endswith("Chance of R@1: 0.016.")


def test_tables_of_llama_cpp_hold_the_files_numbers():
    agreement = {"reports": 4, "equal_reports": 3, "tokens": 1000, "equal_tokens": 996, "share_of_tokens": 0.996}
    parity = {"llama.cpp f32": agreement | {"megabytes": 9.96, "finding_f1": 0.7}}
    table = markdown_table(parity_table({"parity": {"measured": parity}}))
    assert "| llama.cpp f32 | 10.0 MB | 996 of 1,000 (99.6%) | 3 of 4 | 0.700 |" in table
    row = {"prompt_seconds": 1.25, "tokens_per_second": 4.0, "load_before": 0.3}
    slow = row | {"token_seconds": 8.0, "processor_seconds": 15.0}
    fast = row | {"token_seconds": 2.0, "processor_seconds": 3.0, "tokens_per_second": 16.0, "megabytes": 773.2}
    speed = {"1B": {"transformers float32": slow, "llama.cpp q4_0": fast}}
    table = markdown_table(speed_table({"speed": {"measured": speed}}))
    assert "| 1B | transformers float32 | - | 1.25 s | 4.0 | 1.0 | 1.0 | 0.3 |" in table
    assert "| 1B | llama.cpp q4_0 | 773 MB | 1.25 s | 16.0 | 4.0 | 5.0 | 0.3 |" in table


def test_the_gpus_figures_are_the_best_of_each_size(tmp_path):
    results = {"hardware": "H100", "versions": {"torch": "2.11.0", "transformers": "5.17.0"}}
    steps = {"preset": "argus-3b-nr", "trained": "full", "mfu": 0.1}
    results["training"] = [
        steps | {"micro_batch": 1, "samples_per_second": 2.0},
        steps | {"micro_batch": 16, "samples_per_second": 1234.5, "mfu": 0.25},
    ]
    writing = {"preset": "argus-8b-hr", "batch_size": 1, "tokens_per_second": 30.06, "static_cache": False}
    results["writing"] = [writing, writing | {"static_cache": True, "tokens_per_second": 109.0}]
    tower = {"image_size": [256, 512, 512], "tower": "argus", "forward_seconds": 0.008, "training_seconds": 0.066}
    results["towers"] = [tower, tower | {"tower": "m3d", "forward_seconds": 0.4}]
    maps = {"preset": "argus-8b-hr", "dtype": "bfloat16", "seconds_per_sentence": 0.2, "measured_bytes": 29.2e9}
    path = tmp_path / "gpu.json"
    write_json(path, results | {"evidence": [maps]})
    told = fill(document("gpu summary", path))
    assert "| training argus-3b-nr, all weights, 16 scans at a time | 1234 scans/s, MFU 25% |" in told
    assert "1 report at a time | 30.1 tokens/s, 109 with --static-cache |" in told
    assert "| tower of 512 x 512 x 256, forward (and backward) | argus 8 ms (66 ms); m3d 400 ms (66 ms) |" in told
    assert "0.2 s a sentence, 29.2 GB beside the weights |" in told
    assert "With torch 2.11.0, transformers 5.17.0." in told
    assert "| argus-8b-hr | 1 | True | 109 |" in fill(document("gpu writing", path))


def document(kind: str, path: object) -> str:
    return f"before\n<!-- measured: {kind} of {path} -->\nold\n<!-- end of measured -->\nafter\n"


def test_filling_twice_replaces_and_keeps_the_rest(tmp_path):
    path = tmp_path / "results.json"
    losses = {"num_scans": 64, "masked_loss": 0.2, "masked_loss_of_patch_means": 1.0, "ratio": 0.2}
    write_json(path, losses)
    text = document("masked reconstruction", path)
    once = fill(text)
    assert once == text.replace("old", mae_table(losses)) == fill(once)


def test_a_table_that_was_not_measured_again_stays(tmp_path):
    text = document("demo", tmp_path / "results.json") + document("retrieval", tmp_path / "none.json")
    assert fill(text) == text


def test_a_document_without_marks_or_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no mark"):
        fill("nothing")
    with pytest.raises(ValueError, match="no table of kind 'dreams'"):
        fill(document("dreams", tmp_path / "results.json"))


def test_the_demos_card_holds_the_numbers_of_the_readme():
    entries = ModelCard.load(ROOT / "docs" / "demo_model_card.md").data.eval_results
    values = {entry.metric_name: entry for entry in entries}
    rows = re.findall(r"^\| (tiny Argus|shuffled images) \| (.+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {name: [float(cell) for cell in cells.split(" | ")] for name, cells in rows}
    for place, metric in enumerate(DEMO_COLUMNS):
        own, arguments = values[metric].metric_value, values[metric].metric_args
        last_digit = 0.01 if arguments["scale"] == 1 else 0.1
        assert told["tiny Argus"][place] == pytest.approx(own, abs=0.51 * last_digit)
        assert told["shuffled images"][place] == pytest.approx(arguments["controls"]["shuffled"], abs=0.51 * last_digit)
        assert arguments["reports"] == 100 and arguments["interval_95"][0] < own < arguments["interval_95"][1]
