"""Score one run of an ablation's cell: train if needed, generate reports, compare them with the truth.

A recipe that names subsets has each of them evaluated apart. A metric is then there once for each subset, such as
`GREEN ct-rate`, and as the mean over the subsets, which is what the paper's figures 3 to 6 show.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets

from argus_inference.model_folder import Loading, load_model
from argus_processing.saved_models.pretrained import load_processor
from argus_training.ablations.ablation_grid import key_of, overlay
from argus_training.ablations.ablation_recipes import ReportRecipe, divide_settings
from argus_training.ablations.ablation_steps import last_step, run_step, seconds_of, subset_options
from argus_training.stages.recipe import RecipeArguments
from argus_training.stages.report_examples import report_examples

from ..benchmark.benchmark import evaluate_model
from ..benchmark.evaluated_split import load_split, load_train_reports
from ..benchmark.evaluation_results import EvaluationResults
from ..floors.floor_list import FLOORS
from ..floors.floor_material import FloorOptions
from ..metrics.clinical.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from ..metrics.clinical.clinical_weights import ANSWERS, ClinicalOptions
from ..metrics.metric import Metric
from ..metrics.nlp_metrics import AVERAGES, METRICS
from ..metrics.phantom_truth import FINDING_METRICS
from .ablation_results import AblationRun, read_kept, write_kept

SCORE_FILE = "score.json"
REPORT_LOSS, NUM_VISUAL_TOKENS = "report_loss", "num_visual_tokens"
LOWER_IS_BETTER = {REPORT_LOSS}
AVERAGE_CLINICAL = "Avg. clinical"
AVERAGED = ("GREEN", "RaTEScore", "RadGraph-XL partial")
Scores = dict[str, float | None]


def score_training(settings: dict[str, Any], seed: int, scores: Path, steps: Path) -> AblationRun:
    """Train a cell with a seed under `steps` and score its reports under `scores`; reuse finished work.

    Scores that lack a clinical metric, because its weights were not there, are computed again once they are; the
    reports are not written again.
    """
    step = last_step(settings, seed)
    model_dir = run_step(step, steps)
    evaluation = Evaluation(ReportRecipe(**settings), score_folder(settings, seed, scores), steps)
    seconds = {each.name: seconds_of(each, steps) for each in step.with_needs()}
    if not evaluation.is_done():
        started = time.monotonic()
        run = evaluation.score(model_dir)
        cost: dict[str, float | None] = {evaluation.out.name: round(time.monotonic() - started, 1)}
        write_kept(evaluation.file, replace(run, seconds=cost, model=step.name))
    kept = read_kept(evaluation.file, AblationRun)
    return replace(kept, seconds=seconds | kept.seconds)


def score_folder(settings: dict[str, Any], seed: int, scores: Path) -> Path:
    """Return the folder of a cell's scores with a seed, named by its model and by the settings of its evaluation."""
    evaluation = key_of(settings.get("evaluation", {}))
    return scores / f"{last_step(settings, seed).name}-{hashlib.sha256(evaluation.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one trained cell: its recipe, its folder, and the folder of all trainings."""

    recipe: ReportRecipe
    out: Path
    steps: Path

    @property
    def file(self) -> Path:
        """Return the file of the scores."""
        return self.out / SCORE_FILE

    @property
    def options(self) -> dict[str, Any]:
        """Return the settings of report generation alone."""
        own = {"split", "limit", "device_map", "subsets", "clinical", "clinical_models", "clinical_download"}
        own |= {"floors", "floor_scans"}
        return {key: value for key, value in self.recipe.evaluation.items() if key not in own}

    @property
    def loading(self) -> Loading:
        """Return the settings of loading the model."""
        return Loading(device_map=self.recipe.evaluation.get("device_map"))

    def floors(self, subset: str, data: dict[str, Any]) -> dict[str, Any]:
        """Return the floors that the recipe asks for, as an argument; without any, those of `evaluate_model`."""
        if not (names := self.recipe.evaluation.get("floors")):
            return {}
        train, num_scans = load_split(subset, "train", options=data), self.recipe.evaluation.get("floor_scans")
        return {"floors": FloorOptions(tuple(names), train, num_train_scans=num_scans)}

    @property
    def folders(self) -> dict[str, Path]:
        """Return the folder of each subset's evaluation."""
        subsets = self.recipe.evaluation.get("subsets")
        return {subset: self.out / subset for subset in subsets} if subsets else {self.recipe.data["subset"]: self.out}

    def clinical(self, folder: Path) -> dict[str, Metric]:
        """Return the clinical metrics that the recipe asks for; their answers are kept in `folder`."""
        evaluation = self.recipe.evaluation
        models, download = evaluation.get("clinical_models"), evaluation.get("clinical_download", False)
        options = ClinicalOptions(models and Path(models), folder / ANSWERS, download)
        return clinical_metrics(evaluation.get("clinical", ()), options)

    def is_done(self) -> bool:
        """Return whether the scores are there, with every clinical metric that can be computed now."""
        if not self.file.exists():
            return False
        kept = read_kept(self.file, AblationRun)
        lacking = [metric for name, metric in self.clinical(self.out).items() if kept.metrics.get(name) is None]
        return all(metric.missing() for metric in lacking)

    def lacks(self, name: str) -> str | None:
        """Return why a clinical metric is neither among the scores nor can be computed now; None if it is or can."""
        if self.file.exists() and read_kept(self.file, AblationRun).metrics.get(name) is not None:
            return None
        return self.clinical(self.out)[name].missing()

    def score(self, model_dir: Path) -> AblationRun:
        """Evaluate a model on every subset; also compute the loss of the true reports.

        Raises:
            ValueError: if there is no report on a scan; `argus evaluate` leaves it out, and tells so by its exit code.
        """
        by_subset, results = {}, []
        for subset, folder in self.folders.items():
            dataset, done = self._evaluate(subset, folder, model_dir)
            results.append(done)
            loss = report_loss(self.recipe, model_dir, dataset, folder, self.loading)
            by_subset[subset] = with_average(flat_metrics(done)) | {REPORT_LOSS: loss}
        metrics = over_subsets(by_subset) if "subsets" in self.recipe.evaluation else next(iter(by_subset.values()))
        metrics[NUM_VISUAL_TOKENS] = load_processor(model_dir).num_image_tokens
        return AblationRun(
            metrics=metrics,
            model_hash=results[0].model_hash,
            num_scans=sum(done.n_test for done in results),
            seconds={},
            missing={name: reason for done in results for name, reason in missing_metrics(done).items()},
            test_set=" ".join(done.scans.references_sha256[:16] for done in results if done.scans),
        )

    def _evaluate(self, subset: str, folder: Path, model_dir: Path) -> tuple[datasets.Dataset, EvaluationResults]:
        split, limit = self.recipe.evaluation.get("split", "test"), self.recipe.evaluation.get("limit")
        data = subset_options(self.recipe.data, self.steps)
        dataset = load_split(subset, split, options=data, limit=limit)
        results = evaluate_model(
            model_dir,
            dataset,
            load_train_reports(subset, options=data),
            folder,
            subset=subset,
            split=split,
            metrics=METRICS | self.clinical(folder),
            loading=self.loading,
            **self.floors(subset, data),
            **self.options,
        )
        if results.unreadable:
            # Cells would be compared on other scans, and the score would count as done.
            raise ValueError(
                f"{folder}: no report on {len(results.unreadable)} of {len(dataset)} scans, the first is "
                f"{results.unreadable[0]}; what was written is kept: repair the cause and start again"
            )
        return dataset, results


def known_scores(evaluation: Mapping[str, Any]) -> set[str]:
    """Return the names of the scores that an evaluation with these settings can give.

    Scores of findings are among them, which only data with known findings have.
    """
    clinical = {name for key in evaluation.get("clinical", ()) for name in CLINICAL_METRICS[key].names}
    names = {*METRICS, *AVERAGES, *FINDING_METRICS, *clinical}
    names |= {f"{name}_{control}" for name in names for control in FLOORS} | {REPORT_LOSS, NUM_VISUAL_TOKENS}
    names |= {AVERAGE_CLINICAL} if clinical.issuperset(AVERAGED) else set()
    return names | {f"{name} {subset}" for name in names for subset in evaluation.get("subsets", ())}


def with_average(scores: Scores) -> Scores:
    """Add the mean of the paper's three clinical metrics, if they were asked for; None if one of them is missing."""
    added = {}
    for floor in ("", *(f"_{name}" for name in FLOORS)):
        names = [f"{name}{floor}" for name in AVERAGED]
        if all(name in scores for name in names):
            added[f"{AVERAGE_CLINICAL}{floor}"] = _mean([scores[name] for name in names])
    return scores | added


def over_subsets(by_subset: Mapping[str, Scores]) -> Scores:
    """Join the scores of subsets: the mean of each metric under its name, and each subset's own under `NAME SUBSET`."""
    names = dict.fromkeys(name for scores in by_subset.values() for name in scores)
    joined = {name: _mean([scores.get(name) for scores in by_subset.values()]) for name in names}
    own = {f"{name} {subset}": value for subset, scores in by_subset.items() for name, value in scores.items()}
    return joined | own


def _mean(values: list[float | None]) -> float | None:
    """Average values; None if one of them is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def flat_metrics(results: EvaluationResults) -> Scores:
    """Put an evaluation's scores into one mapping; scores of a control end in its name: `finding_f1_shuffled`."""
    flat = {name: metric.value for name, metric in results.metrics.items()}
    for control, scores in results.controls.items():
        flat |= {f"{name}_{control}": metric.value for name, metric in scores.metrics.items()}
    return flat


def missing_metrics(results: EvaluationResults) -> dict[str, str]:
    """Return why metrics could not be computed; the average of the clinical ones is missing with any of them."""
    missing = {name: metric.missing for name, metric in results.metrics.items() if metric.missing}
    if reasons := [missing[name] for name in AVERAGED if name in missing]:
        missing[AVERAGE_CLINICAL] = "; ".join(dict.fromkeys(reasons))
    return missing


def report_loss(
    recipe: ReportRecipe, model_dir: Path, dataset: datasets.Dataset, out: Path, loading: Loading | None = None
) -> float:
    """Compute the cross-entropy of the true reports' tokens given their scans, in nats.

    It is the mean over batches of the mean over tokens.
    """
    from trl import SFTConfig

    from argus_training.stages.report_trainer import make_trainer

    model, processor = load_model(model_dir, loading)
    arguments, own = divide_settings(overlay(recipe.trainer, recipe.sft), RecipeArguments)
    own |= {"output_dir": str(out / "loss"), "eval_strategy": "epoch", "save_strategy": "no"}
    config = SFTConfig(**own, per_device_eval_batch_size=recipe.evaluation.get("batch_size", 4))
    text_tokens = RecipeArguments(model_name_or_path="", **arguments).max_text_tokens
    config.max_length = text_tokens + processor.num_image_tokens
    examples = report_examples(dataset)
    trainer = make_trainer(model, processor, config, {"train": examples, "validation": examples})
    return float(trainer.evaluate()["eval_loss"])
