"""Score reports with RadEval, in the Python that has it: a request as JSON on the input, an answer as JSON.

`radeval_process` starts this file by its path; nothing of Argus can be imported here.
"""

import importlib
import json
import os
import socket
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("radeval", "rouge_score")
WORD_METRICS = ["bleu", "rouge"]
ORDERS = (1, 2, 3, 4)
NO_NETWORK = "no network without --clinical-download"


def refuse_network(*_: Any, **__: Any) -> None:
    """Refuse a connection or the look-up of a name."""
    raise OSError(NO_NETWORK)


def cut_network() -> None:
    """Refuse every connection of this process: RadEval asks for data of nltk as soon as it is imported."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    for name in ("getaddrinfo", "create_connection"):
        setattr(socket, name, refuse_network)
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, refuse_network)


def tell_versions(request: dict[str, Any]) -> dict[str, str | None]:
    """Return the version of each package, None if it is not installed."""
    del request
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def import_radeval() -> Any:
    """Return the package, which knows itself under two names: its RadGraph imports `RadEval`, which is not there."""
    package = importlib.import_module("radeval")
    sys.modules.setdefault("RadEval", package)
    return package


def check_metrics(request: dict[str, Any]) -> dict[str, str | None]:
    """Return for each metric why it cannot be made, None if it can."""
    radeval = import_radeval()
    found: dict[str, str | None] = {}
    for name in request["metrics"]:
        try:
            radeval.RadEval(metrics=[name], show_progress=False)
            found[name] = None
        except Exception as error:  # a metric may raise whatever its libraries raise
            found[name] = line_of(error)
    return found


def score_words(request: dict[str, Any]) -> dict[str, Any]:
    """Return BLEU and ROUGE of (prediction, reference): by report, in total, and the counts that BLEU is made from."""
    radeval = import_radeval()
    told, true = sides(request)
    scorer = importlib.import_module("radeval.metrics.bleu.bleu_scorer").BleuScorer(n=len(ORDERS))
    for prediction, reference in request["pairs"]:
        scorer += (prediction, [reference])
    counts = [[one["testlen"], one["reflen"][0], *one["correct"], *one["guess"]] for one in scorer.ctest]
    per_report, totals = (
        radeval.RadEval(metrics=WORD_METRICS, show_progress=False, **{mode: True})(refs=true, hyps=told)
        for mode in ("per_sample", "detailed")
    )
    return {"per_report": per_report, "totals": totals, "counts": counts}


def score_metric(request: dict[str, Any]) -> dict[str, list[float]]:
    """Return the scores of (prediction, reference) by report."""
    told, true = sides(request)
    evaluator = import_radeval().RadEval(metrics=[request["metric"]], per_sample=True, show_progress=False)
    return {name: [float(score) for score in scores] for name, scores in evaluator(refs=true, hyps=told).items()}


def sides(request: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the predictions and the references of a request."""
    return [pair[0] for pair in request["pairs"]], [pair[1] for pair in request["pairs"]]


def line_of(error: BaseException) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


ACTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "versions": tell_versions,
    "check": check_metrics,
    "words": score_words,
    "metric": score_metric,
}


def main() -> None:
    """Answer one request."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be read as the answer
    request = json.load(sys.stdin)
    if not request["network"]:
        cut_network()
    try:
        answer = {"answer": ACTIONS[request["do"]](request)}
    except Exception as error:
        answer = {"error": line_of(error)}
    json.dump(answer, answers)
    answers.close()


if __name__ == "__main__":
    main()
