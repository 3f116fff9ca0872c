"""Scoring of one run of an ablation's cell: training if needed, report generation, comparison with the truth."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from argus_inference.model_folder import load_model
from argus_training.ablations.ablation_grid import key_of, overlay
from argus_training.ablations.ablation_recipes import ReportRecipe, divide_settings
from argus_training.ablations.ablation_steps import last_step, run_step, seconds_of, subset_options
from argus_training.stages.recipe import RecipeArguments
from argus_training.stages.report_examples import report_examples

from ..benchmark.benchmark import evaluate_model
from ..benchmark.evaluated_split import load_split, load_train_reports
from ..benchmark.evaluation_results import EvaluationResults
from .ablation_results import AblationRun, read_kept, write_kept

SCORE_FILE = "score.json"
LOWER_IS_BETTER = {"report_loss"}


def score_training(settings: dict[str, Any], seed: int, scores: Path, steps: Path) -> AblationRun:
    """Train a cell with a seed under `steps` and score its reports under `scores`; reuse finished work."""
    step = last_step(settings, seed)
    model_dir = run_step(step, steps)
    evaluation = settings.get("evaluation", {})
    out = scores / f"{step.name}-{hashlib.sha256(key_of(evaluation).encode()).hexdigest()[:8]}"
    seconds = {each.name: seconds_of(each, steps) for each in step.with_needs()}
    if not (out / SCORE_FILE).exists():
        started = time.monotonic()
        run = _score(ReportRecipe(**settings), model_dir, out, steps)
        cost: dict[str, float | None] = {out.name: round(time.monotonic() - started, 1)}
        write_kept(out / SCORE_FILE, replace(run, seconds=cost, model=step.name))
    kept = read_kept(out / SCORE_FILE, AblationRun)
    return replace(kept, seconds=seconds | kept.seconds)


def _score(recipe: ReportRecipe, model_dir: Path, out: Path, steps: Path) -> AblationRun:
    options = dict(recipe.evaluation)
    split, limit = options.pop("split", "test"), options.pop("limit", None)
    subset, data = recipe.data["subset"], subset_options(recipe.data, steps)
    dataset = load_split(subset, split, options=data, limit=limit)
    train_reports = load_train_reports(subset, options=data)
    results = evaluate_model(model_dir, dataset, train_reports, out, subset=subset, split=split, **options)
    metrics = flat_metrics(results)
    metrics["report_loss"] = report_loss(recipe, model_dir, dataset, out)
    metrics["num_visual_tokens"] = load_model(model_dir)[1].num_image_tokens
    return AblationRun(metrics=metrics, model_hash=results.model_hash, num_scans=results.n_test, seconds={})


def flat_metrics(results: EvaluationResults) -> dict[str, float | None]:
    """Put an evaluation's scores into one mapping; scores of a control end in its name: `finding_f1_shuffled`."""
    flat = {name: metric.value for name, metric in results.metrics.items()}
    for control, scores in results.controls.items():
        flat |= {f"{name}_{control}": metric.value for name, metric in scores.metrics.items()}
    return flat


def report_loss(recipe: ReportRecipe, model_dir: Path, dataset: datasets.Dataset, out: Path) -> float:
    """Compute the cross-entropy of the true reports' tokens given their scans, in nats.

    It is the mean over batches of the mean over tokens.
    """
    from trl import SFTConfig

    from argus_training.stages.report_trainer import make_trainer

    model, processor = load_model(model_dir)
    arguments, own = divide_settings(overlay(recipe.trainer, recipe.sft), RecipeArguments)
    own |= {"output_dir": str(out / "loss"), "eval_strategy": "epoch", "save_strategy": "no"}
    config = SFTConfig(**own, per_device_eval_batch_size=recipe.evaluation.get("batch_size", 4))
    text_tokens = RecipeArguments(model_name_or_path="", **arguments).max_text_tokens
    config.max_length = text_tokens + processor.num_image_tokens
    examples = report_examples(dataset)
    trainer = make_trainer(model, processor, config, {"train": examples, "validation": examples})
    return float(trainer.evaluate()["eval_loss"])
