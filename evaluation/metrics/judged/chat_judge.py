"""Name the chat model that judges reports: an OpenAI-compatible address and the model that it serves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from ..clinical.clinical_answers import ClinicalModel, KeptModel
from ..clinical.clinical_weights import ClinicalOptions, missing_metric
from ..metric import Metric, MetricScores

EXTRA = "pip install '.[judged]'"
FORM = "http://ADDRESS/v1#MODEL"


@dataclass(frozen=True)
class ChatJudge:
    """A model and the OpenAI-compatible address that serves it."""

    url: str
    model: str


def read_judge(text: str) -> ChatJudge:
    """Read `http://127.0.0.1:8000/v1#google/medgemma-27b-text-it`: the address, and the model after the #.

    Raises:
        ValueError: if it is not of this form.
    """
    url, _, model = text.partition("#")
    if not url.startswith(("http://", "https://")) or not model:
        raise ValueError(f"a judge is given as {FORM}, got {text!r}")
    return ChatJudge(url, model)


def reach(judge: ChatJudge) -> Any:
    """Return a client of the judge's address, which was asked for its models once.

    Raises:
        ValueError: if the address does not answer.
    """
    from openai import OpenAI

    client = OpenAI(base_url=judge.url, api_key="none", max_retries=2)
    with errors_of(judge):
        client.with_options(max_retries=0, timeout=30).models.list()
    return client


@contextmanager
def errors_of(judge: ChatJudge) -> Iterator[None]:
    """Turn the errors of an address into one line that names it.

    Raises:
        ValueError: if the address does not answer, or answers with an error.
    """
    from openai import OpenAIError

    try:
        yield
    except OpenAIError as error:
        raise ValueError(f"{judge.url}: the judge {judge.model} did not answer ({type(error).__name__})") from error


class JudgedScore(Protocol):
    """A function that makes scores from a judge's answers."""

    def __call__(self, predictions: Sequence[str], references: Sequence[str], model: ClinicalModel) -> MetricScores:
        """Score reports against references."""


@dataclass(frozen=True)
class JudgedMetric:
    """A package that scores pairs of reports by a chat model.

    Attributes:
        package: its name on PyPI.
        load: makes what answers pairs from (judge, number of questions under way at a time).
        scores: how each of its metrics is made from the answers, by name.
    """

    package: str
    load: Callable[[ChatJudge, int], ClinicalModel]
    scores: dict[str, JudgedScore]

    def metrics(self, options: ClinicalOptions) -> dict[str, Metric]:
        """Return the metrics, or each with the reason why it is missing."""
        try:
            signature = f"{self.package}|version:{version(self.package)}"
        except PackageNotFoundError:
            return self._missing(f"{self.package} is not installed: {EXTRA}")
        if not options.judge:
            return self._missing(f"no judge: give --clinical-judge {FORM}")
        judge = read_judge(options.judge)
        signature += f"|judge:{judge.model}"
        load: Any = partial(self.load, judge, options.batch_size)
        model = KeptModel(options.answers, signature, self.package, load)
        return {
            name: Metric(partial(score, model=model), f"{signature}|{name}|level:mean of reports", scale=1)
            for name, score in self.scores.items()
        }

    def _missing(self, reason: str) -> dict[str, Metric]:
        return {name: missing_metric(self.package, reason) for name in self.scores}
