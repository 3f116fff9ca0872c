"""Compute METEOR 1.5 (Denkowski and Lavie 2014) by its own Java program.

The program is part of the Python package pycocoevalcap. Other implementations of METEOR, such as nltk's, give very
different numbers, so METEOR is not computed if Java or the package is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .metric import MetricScores, divide, score_of_sums
from .report_words import split_words

NUM_STATISTICS = 23
MAX_WORDS = 1500
MAX_PROCESSES = 4  # of the program, 2 GB at most each
PAIRS_PER_PROCESS = 200  # a further process takes seconds to start
# METEOR 1.5's English parameters: its paper, table 1, and the program's defaults for -l en.
STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75


def missing_meteor() -> str | None:
    """Return a text that says what to install for METEOR, or None if nothing is missing."""
    if _find_java() is None:
        return "METEOR needs Java: install a runtime (Debian: default-jre-headless) and put `java` on PATH"
    if _find_jar() is None:
        return "METEOR needs its program: pip install '.[meteor]'"
    return None


def _find_java() -> str | None:
    return shutil.which("java")


def _find_jar() -> Path | None:
    package = find_spec("pycocoevalcap")
    places = package.submodule_search_locations if package else None
    jars = [Path(place) / "meteor" / "meteor-1.5.jar" for place in places or ()]
    return next((jar for jar in jars if jar.is_file()), None)


def meteor(predictions: Sequence[str], references: Sequence[str]) -> MetricScores:
    """Compute corpus METEOR 1.5 with one reference for each report, times 100, from statistics summed over reports.

    Many pairs are divided among several processes of the program, by the number of cores; each pair is read alone.

    The program's time grows steeply with length (minutes for two texts of 5,000 words), so texts are cut at
    `MAX_WORDS`; the flag `cut` marks the reports for which this happened.

    Raises:
        OSError: if the program fails.
    """
    pairs = [
        (split_words(prediction), split_words(reference))
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    # The words hold no bars and no line ends, so a report cannot break the program's protocol.
    lines = [f"SCORE ||| {' '.join(true[:MAX_WORDS])} ||| {' '.join(said[:MAX_WORDS])}\n" for said, true in pairs]
    scores = score_of_sums(_without_whole_chunks(_statistics_of(lines)), score_statistics)
    return replace(scores, flags={"cut": np.array([max(map(len, pair)) > MAX_WORDS for pair in pairs])})


def _statistics_of(lines: Sequence[str]) -> np.ndarray:
    """Return the statistics `(N, 23)` of pairs."""
    count = max(1, min(os.cpu_count() or 1, MAX_PROCESSES, len(lines) // PAIRS_PER_PROCESS))
    rows = np.zeros((len(lines), NUM_STATISTICS))
    with ThreadPoolExecutor(count) as pool:
        for first, part in enumerate(pool.map(_ask_program, [lines[first::count] for first in range(count)])):
            rows[first::count] = part
    return rows


def _ask_program(lines: Sequence[str]) -> np.ndarray:
    command = ["java", "-Xmx2G", "-jar", str(_find_jar()), "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(command, input="".join(lines).encode(), capture_output=True, check=False)
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    if done.returncode or len(rows) != len(lines) or any(len(row) != NUM_STATISTICS for row in rows):
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise OSError(f"METEOR's Java program answered {len(rows)} of {len(lines)} reports: {reason[0]}")
    return np.array(rows, dtype=np.float64)


def _without_whole_chunks(statistics: np.ndarray) -> np.ndarray:
    """Set the chunk count to 0 where two texts match as a whole: such a pair gets no penalty, alone or in a sum."""
    words, matches, chunks = statistics[:, 0:2], statistics[:, 21:23], statistics[:, 20]
    whole = (words == matches).all(axis=1) & (chunks == 1)
    cleared = statistics.copy()
    cleared[whole, 20] = 0.0
    return cleared


def score_statistics(sums: np.ndarray) -> np.ndarray:
    """Compute METEOR times 100 from summed statistics `(..., 23)`, as the program does for a corpus.

    Columns: words of report and reference; their function words; for each of four stages, the matched content words of
    report and reference and the matched function words of both; chunks; all matched words of both.
    """
    words, function_words = sums[..., 0:2], sums[..., 2:4]
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 2, 2)  # stage, content or function, report or reference
    content, function = stages[..., 0, :], stages[..., 1, :]
    matched = np.einsum("...sr,s->...r", DELTA * content + (1 - DELTA) * function, STAGE_WEIGHTS)
    total = DELTA * (words - function_words) + (1 - DELTA) * function_words
    shares = divide(matched, total)
    precision, recall = shares[..., 0], shares[..., 1]
    f_mean = divide(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = divide(sums[..., 20], sums[..., 21:23].mean(axis=-1))
    return 100.0 * (1 - GAMMA * fragmentation**BETA) * f_mean
