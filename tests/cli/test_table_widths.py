"""Every table that a command or a measurement prints, on a terminal of 80 columns."""

import io
from dataclasses import replace
from pathlib import Path

import bench_cache
import bench_metrics
import bench_preprocessing
import bench_serve
import bench_stage1
import bench_vision
import pytest
from gpu_bench import gpu_tables
from rich.console import Console
from typer.main import get_command

from argus_cli.main import app
from argus_cli.prepare import beside_the_paper, counts_table
from argus_evaluation.ablations import ablation_table
from argus_evaluation.ablations.ablation_results import AblationResults, CellResults, PanelResults, PaperOrder
from argus_evaluation.ablations.ablation_statistics import Summary
from argus_evaluation.benchmark import results_table
from argus_evaluation.benchmark.compare import ComparedMetric, ComparedRuns, build_comparison
from argus_evaluation.benchmark.evaluation_results import ControlResults, EvaluationResults, MetricValue, SectionResults
from argus_evaluation.benchmark.run_list import Run
from argus_evaluation.floors.floor_list import FLOORS
from argus_evaluation.metrics.significance import PairedTest
from argus_evaluation.tables.run_columns import SeedResults, SubsetRuns
from argus_evaluation.tables.table2 import fill_table2
from argus_evaluation.tables.table2_terminal import terminal_tables
from argus_inference.console.terminal import show, table_rows
from argus_processing.curation.overview.table1 import build_table1
from argus_training.planning.plan import make_plan, plan_table

HASH = "0123456789abcdef"
VALUE = MetricValue(0.8123, "signature", 0.7891, 0.8456, scale=1)
TESTS = dict.fromkeys(results_table.METRIC_ROWS.values(), PairedTest(0.1, 0.05, 0.15, 0.0001))
METRICS = dict.fromkeys(results_table.METRIC_ROWS.values(), VALUE)
OURS = {"scans": 25_690, "patients": 21_000, "train": 21_715, "validation": 2_411, "test": 1_564}
OURS |= {"average_tokens": 201.9, "maximum_tokens": 900}
COUNTS = {"volumes": 50_188, "kept": 25_691, "left_out_because_duplicate": 1_234}


def evaluation():
    controls = dict.fromkeys(FLOORS, ControlResults(METRICS, TESTS))
    scores = {"n_test": 1_000, "metrics": METRICS, "controls": controls, "counts": {"truncated": 3}}
    scores["sections"] = dict.fromkeys(("findings", "impression"), SectionResults(METRICS))
    return EvaluationResults(**scores, model_hash=HASH, subset="ct-rate", split="validation")


def comparison():
    row = ComparedMetric(
        difference=-0.1234, low=-0.1234, high=-0.0567, p_value=0.0001, first=0.8, second=0.9, signature=""
    )
    return build_comparison(ComparedRuns(1_000, (HASH, HASH[::-1]), 10_000, {}, dict.fromkeys(METRICS, row)))


def ablation():
    names = ("finding_f1", "finding_f1_shuffled", "laterality_accuracy", "ROUGE-L")
    summary = dict.fromkeys(names, Summary(4, 0.5991, 0.0381, 0.5612, 0.6371))
    cell = CellResults({"compressor": "average pooling"}, summary, (), {})
    panel = PanelResults("compressor", {"compressor": ("average pooling",)}, (cell,), {}, PaperOrder())
    grid = AblationResults("demo", "Demo", (0, 1), "finding_f1", names, "std", (panel,), 16, 1.0, {})
    return ablation_table.build_table(grid, panel)


def gpu(part: str):
    training = {
        "preset": "argus-70b-hr",
        "trained": "lora",
        "micro_batch": 16,
        "samples_per_second": 12.3,
        "recompute": False,
        "mfu": 0.412,
    }
    writing = {"preset": "argus-70b-hr", "tower": "ct2rep", "batch_size": 16, "static_cache": False}
    towers = {"tower": "ct2rep", "preset": "argus-70b-hr", "tokens": 65_536, "forward_seconds": 0.123}
    seconds = dict.fromkeys(("first_on_cpu", "second_on_cpu", "second_on_device", "all_on_device"), 0.00123)
    together = {"preset": "argus-70b-hr", "reports": 16, "prefill_seconds": 0.0623, "step_seconds": 0.0287}
    evidence = {"dtype": "bfloat16", "way": "recompute, 6 at once", "steps_at_once": 6, "seconds_per_sentence": 0.353}
    rows = {
        "ceilings": {"what": "product of 8192 x 8192, bfloat16", "tflops": 789.1},
        "training": training | {"mfu": 0.412, "peak_memory_bytes": 8.5e10},
        "writing": writing | {"prefill_seconds": 1.2, "report_seconds": 12.3, "tokens_per_second": 123.4},
        "together": together | {"tokens_per_second": 557.1, "peak_memory_bytes": 2.5e10},
        "towers": towers | {"training_seconds": 1.23, "tflops": 412.3},
        "resampling": {"preset": "argus-70b-hr"} | {f"{name}_seconds": value for name, value in seconds.items()},
        "evidence": evidence | {"planned_bytes": 4.5e10, "measured_bytes": 4.1e10},
        "parity": {"model": "random argus-tiny", "dtype": "bfloat16", "tokens": 1_040, "equal_tokens": 1_040},
        "skipped": {"part": "training", "about": "argus-70b-hr: all but the rows above"},
    }
    results = {name: [row] for name, row in rows.items()}
    made = gpu_tables.tables({"hardware": "NVIDIA H100 80GB HBM3", **results})
    return dict(zip(rows, made, strict=True))[part]


def metrics():
    row = {"metrics": ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"], "argus_seconds": 1.2, "seconds": 12.3}
    row |= {"largest_difference": 1e-12}
    told = {"pairs": 1_000, "words": 200, "seconds_without_java": 1.2, "cpu_seconds_without_java": 1.2}
    return bench_metrics.build_table(told | {"pycocoevalcap": {"Bleu": row}, "meteor": {"missing": "no Java"}})


def stage1():
    seconds = {"epoch_seconds": dict.fromkeys(bench_stage1.SIDES, [123.4]), "fill_seconds": 12.3, "stage_epochs": 10}
    ratios = {"epoch_times_faster": 12.3, "stage_times_faster": 12.3, "largest_loss_difference": 1e-9}
    return bench_stage1.stage_table({"scans": 100} | seconds | ratios)


def patches():
    sides = {f"{side}_{way}_ms": 1234.5 for side in bench_vision.SIDES for way in ("forward", "backward")}
    row = {"resolution": "hr", "dtype": "bfloat16", "times_faster": 12.3, "largest_difference": 1e-9}
    return bench_vision.patch_table([row | sides])


def systems():
    flops = {f"{part}_flops": 1.2e14 for part in ("encoder", "connector", "prefill", "total")}
    row = {"resolution": "hr", "system": "M3D, perceiver", "tower_tokens": 16_384, "visual_tokens": 2_048}
    return bench_vision.system_table([row | flops])


def cache():
    row = {"resolution": "hr", "encoding": "float16", "file_ms": 1234.5, "cache_ms": 123.4, "times_faster": 12.3}
    return bench_cache.build_table([row | {"mb": 123.4, "largest_difference": 1e-3}])


def preprocessing():
    names = ("argus_seconds", "inflate_seconds", "monai_seconds", "times_faster")
    names += ("argus_added_mb", "monai_added_mb", "memory_share")
    return bench_preprocessing.build_table({"hr": dict.fromkeys(names, 1234.56)})


def table_2():
    """Three seeds of the longest name, with the widest numbers and a missing one."""
    names = ("Avg. NLP", "GREEN", "RadGraph-XL partial")
    seeds = [
        SeedResults(
            Run("CT2Rep", "hr", Path(), "70B", seed),
            EvaluationResults(
                n_test=1_564,
                metrics=dict.fromkeys(names, replace(VALUE, value=seed * 40.0, scale=100)),
                model_hash=str(seed),
                subset="ct-rate",
                split="validation",
            ),
        )
        for seed in (0, 1, 2)
    ]
    runs = SubsetRuns("ct-rate", "validation", 1_564, {("hr", "CT2Rep-70B"): tuple(seeds)})
    (table,), _ = terminal_tables(fill_table2([runs]))
    return table


TABLES = {
    "evaluate": lambda: results_table.result_tables(evaluation())[0],
    "evaluate: floors, labels": lambda: results_table.result_tables(evaluation())[1],
    "evaluate: floors, words": lambda: results_table.result_tables(evaluation())[2],
    "evaluate: floors, models": lambda: results_table.result_tables(evaluation())[3],
    "evaluate: sections": lambda: results_table.result_tables(evaluation())[5],
    "compare": comparison,
    "ablate": ablation,
    "prepare: counts": lambda: counts_table({"counts": dict.fromkeys(("ct-rate", "bimcv-r", "inspect"), COUNTS)}),
    "prepare: paper": lambda: beside_the_paper(build_table1({"ct-rate": OURS, "all": OURS})),
    "table2": table_2,
    "plan": lambda: plan_table(make_plan("argus-tiny", 1, 80)),
    "plan: large": lambda: plan_table(make_plan("argus-70b-hr", 8, 80, 4, 256)),
    **{f"bench: GPU, {part}": lambda part=part: gpu(part) for part in gpu_tables.COLUMNS if part != "profiles"},
    "bench: metrics": metrics,
    "bench: stage 1": stage1,
    "bench: patches": patches,
    "bench: systems": systems,
    "bench: cache": cache,
    "bench: preprocessing": preprocessing,
    "bench: serve": lambda: bench_serve.build_table([bench_serve.Bound("a client that leaves", 1.2, "answered", 1234)]),
}


@pytest.mark.parametrize("name", TABLES)
def test_headings_and_cells_are_whole_at_80_columns(name):
    table, out = TABLES[name](), io.StringIO()
    show(table, Console(file=out, width=80))
    assert "…" not in out.getvalue()
    assert any(mark in out.getvalue() for mark in "│─")  # a table, not values below one another
    shown = out.getvalue().split()
    texts = [str(column.header) for column in table.columns] + [cell for row in table_rows(table) for cell in row]
    assert not [word for text in texts for word in text.split() if not any(word in each for each in shown)]


@pytest.mark.parametrize("name", [(), *((name,) for name in get_command(app).commands)])
def test_the_help_cuts_nothing_at_80_columns(argus, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    code, stdout, _ = argus(*name, "--help")
    assert code == 0 and "…" not in stdout
