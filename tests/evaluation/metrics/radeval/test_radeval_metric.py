"""The protocol with a second Python that has no RadEval; its scores are tried by `make test-metric-packages`."""

import math
import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

from argus_evaluation.metrics.clinical.clinical_metrics import CLINICAL_METRICS, clinical_metrics
from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.radeval import radeval_metric
from argus_evaluation.metrics.radeval.radeval_metric import bleu_of_counts, check_words
from argus_evaluation.metrics.radeval.radeval_process import PROGRAM, ask_program, find_radeval

KEYS = ("radeval", "radeval-models")
# Written "a b c d", true "a b c e": three of four words, two of three pairs, one of two triples, no four match.
COUNTS = [4, 4, 3, 2, 1, 0, 4, 3, 2, 1]
TOTALS = {"bleu_1": 0.75, "bleu_2": 0.7071, "bleu_3": 0.63, "bleu": 0.0001, "rouge1": 0.75, "rouge2": 0.6667,
          "rougeL": 0.75}  # fmt: skip


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


def reasons(options):
    return {metric.missing() for metric in clinical_metrics(KEYS, options).values()}


def test_without_a_second_python_each_metric_says_how_to_give_one():
    (reason,) = reasons(ClinicalOptions())
    assert reason.startswith("no Python with RadEval: give --radeval-python PATH; make radeval-environment")


def test_a_python_without_radeval_is_named(bare_python):
    (reason,) = reasons(ClinicalOptions(radeval_python=bare_python))
    assert reason.startswith(f"{bare_python}: radeval and rouge_score not installed there; make radeval-environment")


@pytest.mark.parametrize("name", ["nothing", ""])
def test_a_path_that_is_no_program_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="is no Python that can be started"):
        find_radeval(ClinicalOptions(radeval_python=tmp_path / name))


def test_a_program_that_gives_no_answer_is_told():
    with pytest.raises(ValueError, match=r"ended without an answer \(exit status 1\): no reason given"):
        ask_program(Path(shutil.which("false")), {"do": "versions", "network": False}, 60)


def test_an_error_in_the_second_python_is_one_line(bare_python):
    request = {"do": "words", "network": False, "pairs": [["No effusion.", "An effusion."]]}
    with pytest.raises(ValueError, match="RadEval: ModuleNotFoundError: No module named 'radeval'$"):
        ask_program(bare_python, request, 60)


def test_an_answer_that_takes_too_long_is_not_waited_for(bare_python):
    with pytest.raises(ValueError, match="RadEval gave no answer within 0.001 s"):
        ask_program(bare_python, {"do": "versions", "network": False}, 0.001)


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 9)",
        "__import__('http.client').client.HTTPConnection('127.0.0.1', 9).request('GET', '/')",
    ],
)
def test_nothing_in_the_second_python_reaches_the_network(call, bare_python):
    code = f"import runpy, socket\nrunpy.run_path({str(PROGRAM)!r})['cut_network']()\n{call}"
    done = subprocess.run([bare_python, "-I", "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "OSError: no network without --clinical-download"


@pytest.mark.parametrize(
    ("order", "value"), [(1, 0.75), (2, math.sqrt(0.75 * 2 / 3)), (3, (0.75 * 2 / 3 / 2) ** (1 / 3)), (4, 0)]
)
def test_bleu_comes_from_counts_by_hand(order, value):
    assert bleu_of_counts(np.array(COUNTS), order) == pytest.approx(value, abs=2e-4)


def test_a_report_of_half_the_words_pays_for_its_brevity():
    assert bleu_of_counts(np.array([2, 4, 2, 1, 0, 0, 2, 1, 0, 0]), 2) == pytest.approx(math.exp(-1))
    assert bleu_of_counts(np.zeros(10), 4) == 0  # what no report wrote


def found(**totals):
    per_report = {"bleu": [bleu_of_counts(np.array(COUNTS), 4)], "rouge1": [0.75], "rouge2": [2 / 3], "rougeL": [0.75]}
    return {"counts": [COUNTS], "per_report": per_report, "totals": TOTALS | totals}


def test_totals_must_follow_from_the_reports():
    check_words(found())
    with pytest.raises(ValueError, match="RadEval's total bleu_2 is 0.9, its scores of the reports give 0.707107"):
        check_words(found(bleu_2=0.9))
    with pytest.raises(ValueError, match="RadEval's total rouge2 is 0.5, its scores of the reports give 0.666667"):
        check_words(found(rouge2=0.5))
    with pytest.raises(ValueError, match="BLEU-4 of the reports is not what its counts of n-grams give"):
        check_words(found() | {"per_report": found()["per_report"] | {"bleu": [0.5]}})


def test_the_rows_are_those_that_the_table_names():
    assert CLINICAL_METRICS["radeval"].names == radeval_metric.NAMES
    assert len({*radeval_metric.NAMES, *radeval_metric.MODEL_NAMES}) == 15
