"""Read the findings that RadGraph-XL and GREEN named when a run was scored, out of the answers that the run keeps.

No model is loaded: what was not asked in `argus evaluate --clinical ...` is not there.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from argus_processing.storage.answer_store import stored_answers

from ..named_findings import DIFFERENT, FINDING_STATUSES, INVENTED, MATCHED, MISSED, Mark, NamedFindings
from .clinical_answers import printable
from .green_metric import COMPAT_WORDS, list_findings
from .radgraph_metric import Graph, locate_entities

ERRORS = {"a": INVENTED, "b": MISSED, "c": DIFFERENT, "d": DIFFERENT, "e": INVENTED, "f": MISSED}


class _KeptAnswers:
    """The answers of one metric in a run's file; if it was asked with several settings, those of the last time."""

    def __init__(self, path: Path, metric: str, asked_by: str) -> None:
        self._path, self._asked_by = path, asked_by
        self._answers = stored_answers(path, metric)

    def find(self, questions: Sequence[Any]) -> Any:
        """Return the answer to the first of the questions that was asked."""
        for question in questions:
            if (found := self._answers.get(json.dumps(question))) is not None:
                return json.loads(found)
        raise ValueError(f"{self._path}: holds no answer on a report; run argus evaluate --clinical {self._asked_by}")


class RadGraphFindings:
    """RadGraph-XL's entities: words with a label, such as an observation that is present."""

    def note(self, subset: str) -> str:
        """Return what the marks are, the same for every subset."""
        return (
            "The marks are RadGraph-XL's entities, words with a label. An entity is right if the truth has the same "
            "words, in small or capital letters, with the same label. It is wrong if the truth has them with another "
            "label (present, absent, uncertain) or not at all."
        )

    def __init__(self, answers: Path) -> None:
        self._answers = _KeptAnswers(answers, "radgraph|", "radgraph")

    def compare(self, reference: str, report: str) -> NamedFindings:
        """Mark the entities of both texts."""
        true, told = (self._answers.find([printable(text)]) for text in (reference, report))
        return NamedFindings(
            tuple(_entity_marks(reference, true, told, MISSED)),
            tuple(_entity_marks(report, told, true, INVENTED)),
            _entity_lists(true, told),
        )


def _entity_marks(text: str, graph: Graph, other: Graph, alone: str) -> Iterator[Mark]:
    for (start, end), entity in locate_entities(text, graph):
        yield Mark(start, end, _entity_status(entity, other, alone))


def _entity_status(entity: dict[str, Any], other: Graph, alone: str) -> str:
    """Return the status of an entity; `alone` if its words are not in the other graph."""
    words = entity["tokens"].lower()
    labels = {found["label"] for found in other["entities"].values() if found["tokens"].lower() == words}
    return alone if not labels else MATCHED if entity["label"] in labels else DIFFERENT


def _entity_lists(true: Graph, told: Graph) -> dict[str, tuple[str, ...]]:
    lists: dict[str, dict[str, None]] = {status: {} for status in FINDING_STATUSES}
    for graph, other, alone in ((told, true, INVENTED), (true, told, MISSED)):
        for entity in graph["entities"].values():
            status = _entity_status(entity, other, alone)
            if graph is told or status == MISSED:
                lists[status][f"{entity['tokens']} ({entity['label'].rsplit('::', 1)[-1]})"] = None
    return {status: tuple(found) for status, found in lists.items()}


class GreenFindings:
    """GREEN's matched findings and clinically significant errors; they are marked where the text holds their words."""

    def note(self, subset: str) -> str:
        """Return what the marks are, the same for every subset."""
        return (
            "The findings are those of GREEN's answers: matched findings, and clinically significant errors (false, "
            "missed, or of another place or severity). GREEN tells them in its own words, so only those that a text "
            "holds word for word are marked in it; all of them are in the lists."
        )

    def __init__(self, answers: Path) -> None:
        self._answers = _KeptAnswers(answers, "green|", "green")

    def compare(self, reference: str, report: str) -> NamedFindings:
        """Mark what the answer about the two texts names."""
        pair = [printable(report), printable(reference)]
        cut = [" ".join(text.split()[:COMPAT_WORDS]) for text in pair]
        matched, errors = list_findings(self._answers.find([pair, cut])["text"])
        lists: dict[str, list[str]] = {status: [] for status in FINDING_STATUSES}
        lists[MATCHED] += matched
        for kind, found in errors.items():
            lists[ERRORS[kind]] += found
        return NamedFindings(
            tuple(_phrase_marks(reference, lists, (MATCHED, DIFFERENT, MISSED))),
            tuple(_phrase_marks(report, lists, (MATCHED, DIFFERENT, INVENTED))),
            {status: tuple(found) for status, found in lists.items()},
        )


def _phrase_marks(text: str, lists: dict[str, list[str]], statuses: Sequence[str]) -> Iterator[Mark]:
    for status in statuses:
        for phrase in lists[status]:
            words = r"\s+".join(map(re.escape, phrase.split()))
            if found := re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE):
                yield Mark(found.start(), found.end(), status)
