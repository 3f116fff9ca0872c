"""Learn from training reports which sentences tell a label, and write reports of labels with them.

A report starts as the usual normal one. A label removes the sentences that reports with this label do not have, such as
its denial or "Normal chest CT.", and adds the sentence by which it is told most often, where it usually stands.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ..metrics.labels import locate_labels
from ..metrics.labels.assertion import DENIED, PRESENT
from .report_sections import Sections, lines_and_sentences, split_sections

_EXPECTED = 5  # reports with a label that would have a sentence by chance, for its absence to tell something
_RARE = 0.25  # a sentence that is there less often than this share of its chance is removed
_USUAL = 0.5  # share of reports with a label whose impression tells it, from which ours does

Labels = AbstractSet[str]


@dataclass(frozen=True)
class PlacedSentence:
    """A sentence and its usual place in its section, from 0 to 1."""

    text: str
    place: float


@dataclass(frozen=True)
class SectionWriter:
    """The words of one section.

    Attributes:
        normal: sentences of the usual normal report.
        removed: by label, those that it removes.
        told: by label, the sentence that tells it.
        shares: by label, the share of reports with it whose section tells it.
    """

    normal: tuple[PlacedSentence, ...]
    removed: dict[str, frozenset[str]] = field(default_factory=dict)
    told: dict[str, PlacedSentence] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    def write(self, labels: Labels, least_share: float = 0.0) -> str:
        """Return the section for these labels; those that are told in fewer reports than `least_share` are left out."""
        removed = frozenset().union(*(self.removed.get(label, ()) for label in labels))
        kept = [sentence for sentence in self.normal if sentence.text not in removed]
        # The labels in a fixed order: a set's own differs from process to process.
        for label in sorted(labels & self.told.keys()):
            if self.shares[label] >= least_share:
                kept.append(self.told[label])
        ordered = sorted(dict.fromkeys(kept), key=lambda sentence: sentence.place)
        return " ".join(dict.fromkeys(sentence.text for sentence in ordered))


@dataclass(frozen=True)
class LabelWriter:
    """A writer of reports from labels, with the heads of the usual normal report."""

    heads: Sections
    findings: SectionWriter
    impression: SectionWriter | None

    def write(self, labels: Labels) -> str:
        """Return the report of a scan with these labels."""
        findings = self.findings.write(labels)
        if self.impression is None:
            return self.heads.join(findings, "")
        impression = self.impression.write(labels, _USUAL) or self.impression.write(labels)
        return self.heads.join(findings, impression)


def learn_writer(reports: Sequence[str], labels: Sequence[Labels], normal: str) -> LabelWriter:
    """Learn sentences from training reports with these labels; `normal` is the usual normal one of them."""
    heads, parts = split_sections(normal), [split_sections(report) for report in reports]
    reader = _SentenceReader()
    findings = [lines_and_sentences(part.findings) for part in parts]
    learned = _learn(findings, labels, lines_and_sentences(heads.findings), reader)
    if heads.impression is None:
        return LabelWriter(heads, learned, None)
    told = [
        (lines_and_sentences(part.impression), each)
        for part, each in zip(parts, labels, strict=True)
        if part.impression
    ]
    impressions, own = [sentences for sentences, _ in told], [each for _, each in told]
    return LabelWriter(heads, learned, _learn(impressions, own, lines_and_sentences(heads.impression), reader))


class _SentenceReader:
    """Labels that a sentence states and denies, each sentence read once."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def stated(self, sentence: str) -> frozenset[str]:
        return self._of(sentence)[0]

    def denied(self, sentence: str) -> frozenset[str]:
        return self._of(sentence)[1]

    def _of(self, sentence: str) -> tuple[frozenset[str], frozenset[str]]:
        if sentence not in self._read:
            mentions = locate_labels(sentence)
            by_status = (frozenset(each.label for each in mentions if each.status == one) for one in (PRESENT, DENIED))
            stated, denied = by_status
            self._read[sentence] = stated, denied
        return self._read[sentence]


def _learn(
    sections: Sequence[Sequence[str]], labels: Sequence[Labels], normal: Sequence[str], reader: _SentenceReader
) -> SectionWriter:
    every = sorted(frozenset().union(*labels))
    counts = {label: Counter(_sentences_with(sections, labels, label)) for label in every}
    usual = Counter(_sentences_with(sections, labels, None))
    num_with = Counter(label for each in labels for label in each)
    num_normal = sum(not each for each in labels)
    removed = {}
    for label in every:
        gone = (
            sentence
            for sentence in normal
            if label in reader.denied(sentence)
            or is_rare(counts[label][sentence], num_with[label], usual[sentence], num_normal)
        )
        removed[label] = frozenset(gone)
    told, shares = _told(sections, labels, every, num_with, reader)
    placed = tuple(PlacedSentence(text, (at + 0.5) / len(normal)) for at, text in enumerate(normal))
    return SectionWriter(placed, removed, told, shares)


def _sentences_with(sections: Sequence[Sequence[str]], labels: Sequence[Labels], label: str | None) -> list[str]:
    """Return the sentences of the reports with a label, or of those without any, each once a report."""
    pairs = zip(sections, labels, strict=True)
    wanted = (sentences for sentences, each in pairs if (label in each if label else not each))
    return [sentence for sentences in wanted for sentence in dict.fromkeys(sentences)]


def is_rare(found: int, num_with: int, usual: int, num_normal: int) -> bool:
    """Return whether a sentence is much rarer in reports with a label than in normal ones.

    Args:
        found, num_with: reports with the label that have the sentence, and all of them.
        usual, num_normal: the same of normal reports.
    """
    expected = num_with * usual / num_normal if num_normal else 0.0
    return expected >= _EXPECTED and found < _RARE * expected


def _told(
    sections: Sequence[Sequence[str]],
    labels: Sequence[Labels],
    every: Collection[str],
    num_with: Counter[str],
    reader: _SentenceReader,
) -> tuple[dict[str, PlacedSentence], dict[str, float]]:
    """Return by label its sentence, and the share of reports with the label whose section tells it."""
    wordings: dict[str, Counter[str]] = {label: Counter() for label in every}
    places: dict[str, list[float]] = {label: [] for label in every}
    telling: Counter[str] = Counter()
    for sentences, own in zip(sections, labels, strict=True):
        found = set()
        for at, sentence in enumerate(sentences):
            for label in reader.stated(sentence) & own:
                wordings[label][sentence] += 1
                places[label].append((at + 0.5) / len(sentences))
                found.add(label)
        telling.update(found)
    told = {
        label: PlacedSentence(_usual_wording(counts, reader), sum(places[label]) / len(places[label]))
        for label, counts in wordings.items()
        if counts
    }
    return told, {label: telling[label] / num_with[label] for label in told}


def _usual_wording(counts: Counter[str], reader: _SentenceReader) -> str:
    """Return the commonest of the sentences that state the fewest labels, of equals the one that sorts first."""
    fewest = min(len(reader.stated(sentence)) for sentence in counts)
    alone = [sentence for sentence in counts if len(reader.stated(sentence)) == fewest]
    return min(alone, key=lambda sentence: (-counts[sentence], sentence))
