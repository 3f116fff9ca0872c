"""Compute RadMatch by its authors' package: a chat model extracts findings, matches them, and names their errors."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from argus_processing.storage.part_files import private_folder

from ..clinical.clinical_answers import ClinicalModel, pair_up
from ..metric import MetricScores, ratio_of_sums, score_of_sums
from .chat_judge import ChatJudge, JudgedMetric, JudgedScore, errors_of, reach

ERRORS, CORRECT = "RadMatch actionable errors", "RadMatch correct findings"
_WRONG = ("PAR", "INC", "MIS")  # of a reference's findings: partly right, contradicted, missed


class RadMatchJudge:
    """The package's three stages, on folders of reports."""

    def __init__(self, judge: ChatJudge, batch_size: int):
        reach(judge)  # else the package tries an address that does not answer for minutes
        self._judge, self._workers = judge, batch_size

    def answer(self, questions: Sequence[Any]) -> list[Any]:
        """Return for each (prediction, reference) its errors and counts, or None if a stage gave no usable answer."""
        with private_folder() as folder:
            for side, name in enumerate(("told", "true")):
                (folder / name).mkdir()
                for place, pair in enumerate(questions):
                    # The package takes an empty report for one that cannot be read.
                    text = pair[side].strip() or "No findings."
                    (folder / name / f"{place:06d}.txt").write_text(text, encoding="utf-8")
            self._run(folder)
            return [self._read(folder, place) for place in range(len(questions))]

    def _run(self, folder: Path) -> None:
        from radmatch import constants, run_all

        logging.getLogger("radmatch").setLevel(logging.ERROR)
        name = f"local:{self._judge.model}"
        # The package knows the address of a model of one's own by this variable alone.
        with patch.dict(os.environ, {"RADMATCH_LOCAL_BASE_URL": self._judge.url}), errors_of(self._judge):
            run_all(folder / "told", folder, name, name, reports_gt_dir=folder / "true", workers=self._workers)
        self._results = folder / constants.RESULTS_DIR / constants.PER_REPORT_METRICS_DIR

    def _read(self, folder: Path, place: int) -> dict[str, Any] | None:
        path = self._results / f"{place:06d}.json"
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"errors": found["actionable_errors_total"], "counts": found["muc_counts"]}


def _score(summands: Callable[[dict[str, Any]], tuple[float, float]]) -> JudgedScore:
    """Return a score that is a ratio of sums over the pairs whose answers could be read; others are `unparsed`."""

    def score(predictions: Sequence[str], references: Sequence[str], model: ClinicalModel) -> MetricScores:
        answers = model.answer(pair_up(predictions, references))
        rows = np.array([summands(answer) if answer else (0.0, 0.0) for answer in answers])
        scores = score_of_sums(rows, ratio_of_sums)
        unparsed = np.array([answer is None for answer in answers])
        return MetricScores(
            scores.summands, scores.finish, scores.per_report, {"unparsed": unparsed}, is_defined=bool(rows[:, 1].any())
        )

    return score


def _errors_per_report(answer: dict[str, Any]) -> tuple[float, float]:
    return answer["errors"], 1


def _correct_of_true(answer: dict[str, Any]) -> tuple[float, float]:
    counts = answer["counts"]
    return counts["COR"], counts["COR"] + sum(counts[kind] for kind in _WRONG)


SCORES = {ERRORS: _score(_errors_per_report), CORRECT: _score(_correct_of_true)}
RADMATCH = JudgedMetric("radmatch", RadMatchJudge, SCORES)
