"""Compute RaTEScore by its authors' own package, where that and medspacy are installed (`metric-packages.txt`)."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from .rate_model import NO_ENTITY_SCORE, Entity, RateModel

PACKAGES = ("RaTEScore", "medspacy", "PyRuSH")
ADVICE = "pip install --no-deps -r metric-packages.txt"


def missing_package() -> str | None:
    """Return one line that says what to install, or None."""
    try:
        sign_package()
    except PackageNotFoundError:
        return f"RaTEScore and medspacy are not installed: {ADVICE}"
    return None


def sign_package() -> str:
    """Return the package's part of the signature: its version, and those of what splits its sentences."""
    releases = [f"{name} {version(name)}" for name in PACKAGES]
    return f"package:{releases[0]}|affinity:long|sentences:{','.join(releases[1:])}"


class PackagedRateModel(RateModel):
    """The package's own sentences, entities and scores, with networks that Argus has loaded and checked.

    A report without a sentence is never given to the package: it would shift all pairs after it.

    Args:
        entity_path, embedding_path, batch_size: as for `RateModel`.
    """

    def __init__(self, entity_path: Path, embedding_path: Path, batch_size: int):
        super().__init__(entity_path, embedding_path, batch_size)
        scorer, self._steps = _import_package()
        names = (str(entity_path), str(embedding_path))
        loaded: dict[str, Any] = {
            "AutoTokenizer": _given(dict(zip(names, (self._tagger_tokens, self._embedder_tokens), strict=True))),
            "AutoModelForTokenClassification": _given({names[0]: self._tagger}),
            "AutoModel": _given({names[1]: self._embedder}),
            "AutoConfig": _given({names[0]: self._tagger.config}),
        }
        with patch.multiple(scorer, **loaded):
            options = {"batch_size": self._texts_at_a_time, "use_gpu": self._device == "cuda"}
            self._package: Any = scorer.RaTEScore(*names, affinity_matrix="long", **options)

    def answer(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return for each (prediction, reference) its `score` (0 to 1) and the number of `entities` on each side."""
        reports = list(dict.fromkeys(text for pair in pairs for text in pair))
        found = dict(zip(reports, self.find_entities(reports), strict=True))
        whole = [pair for pair in dict.fromkeys(map(tuple, pairs)) if all(found[text] for text in pair)]
        scores: dict[tuple[str, ...], float] = {}
        if whole:
            predictions, references = ([pair[side] for pair in whole] for side in (0, 1))
            scores = dict(zip(whole, self._package.compute_score(predictions, references), strict=True))
        return [
            {
                "score": float(scores.get(tuple(pair), NO_ENTITY_SCORE)),
                "entities": [len(found[text]) for text in pair],
            }
            for pair in pairs
        ]

    def find_entities(self, reports: Sequence[str]) -> list[list[Entity]]:
        """Return each report's entities as the package finds them; an empty list for a report without a sentence."""
        some = [report for report in reports if self._steps.sentence_split([report])[0]]
        if not some:
            return [[] for _ in reports]
        ours = self._package
        found = self._steps.run_ner(some, ours.idx2label, ours.tokenizer, ours.model, ours.device, ours.batch_size)
        entities = dict(zip(some, found, strict=True))
        return [entities.get(report, []) for report in reports]


def _given(loaded: Mapping[str, Any]) -> SimpleNamespace:
    """Make a replacement of one of transformers' Auto classes, which gives what was loaded already, by name."""
    return SimpleNamespace(from_pretrained=loaded.__getitem__)


def _import_package() -> tuple[Any, Any]:
    """Return the package's modules that score and that find entities.

    Raises:
        ValueError: if it cannot be imported, as where pip has taken the spaCy that medspacy asks for.
    """
    try:
        _silence_logs()
        return import_module("RaTEScore.scorer"), import_module("RaTEScore.score")
    except (ImportError, OSError, ValueError) as error:  # spaCy built for numpy 1 is a ValueError
        cause = " ".join(str(error).split())
        raise ValueError(f"RaTEScore cannot be imported ({cause}): {ADVICE}") from error


def _silence_logs() -> None:
    """Keep PyRuSH from writing every sentence of a report, which it does at its import already, to the terminal."""
    logger = import_module("loguru").logger
    for name in ("PyRuSH", "PyFastNER", "medspacy"):
        logger.disable(name)
