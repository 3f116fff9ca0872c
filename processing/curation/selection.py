"""Select the scans of CT-3DRRG from the sources' lists, in steps of one rule each that give reasons for exclusions.

Argus paper, section 3 and appendix A. The order of `STEPS` is the order in which they are applied.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..report_text import clean_report, count_tokens, split_sentences
from ..sources.registry import SOURCES
from ..sources.tables import SourceScan
from .judges import Judge
from .prepared_folder import SPLITS
from .splits import split_of
from .volume_records import VolumeRecord

MIN_TOKENS = 10
# If the same volume occurs twice, the test split keeps it: a test scan must not be in the training data.
_KEEPS_FIRST = {split: rank for rank, split in enumerate(reversed(SPLITS))}


@dataclass(frozen=True)
class CuratedScan:
    """One scan on its way through the steps.

    Attributes:
        scan: the scan as its source lists it.
        record: the record of its volume.
        split: train, validation or test.
        sentences: the sentences of its cleaned report.
        kept: indices of the sentences that stay.
    """

    scan: SourceScan
    record: VolumeRecord
    split: str
    sentences: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()

    @property
    def is_unfiltered(self) -> bool:
        """Return whether it belongs to a source's official test set, which is not filtered."""
        return SOURCES[self.scan.source].has_test_set and self.split == "test"

    @property
    def report(self) -> str:
        """Return the kept sentences as one paragraph."""
        return " ".join(self.sentences[index] for index in self.kept)

    @property
    def key(self) -> tuple[str, str]:
        """Return source and scan id."""
        return self.scan.source, self.scan.scan_id


@dataclass(frozen=True)
class SetAside:
    """A scan that is not in the data set, and the reason."""

    source: str
    scan_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class DroppedSentence:
    """A dropped sentence, the rule that dropped it, and its index in the cleaned report."""

    source: str
    scan_id: str
    index: int
    rule: str
    sentence: str


@dataclass
class Curation:
    """Result of curation: scans kept, scans set aside, sentences dropped."""

    scans: list[CuratedScan]
    set_aside: list[SetAside] = field(default_factory=list)
    dropped: list[DroppedSentence] = field(default_factory=list)

    def counts(self, source: str) -> dict[str, int]:
        """Count a source's kept and excluded scans and sentences, by reason and rule."""
        aside = Counter(entry.reason for entry in self.set_aside if entry.source == source)
        rules = Counter(f"sentences_{entry.rule}" for entry in self.dropped if entry.source == source)
        kept = Counter(scan.split for scan in self.scans if scan.scan.source == source)
        return dict(sorted(aside.items())) | dict(sorted(rules.items())) | {split: kept[split] for split in SPLITS}


CurationStep = Callable[[Curation, Judge], Curation]


def curate(scans: Sequence[SourceScan], records: Sequence[VolumeRecord], judge: Judge) -> Curation:
    """Apply every step to the scans of all sources.

    Args:
        scans: of all sources.
        records: the records of their volumes, in the same order.
        judge: the judge of which sentences a CT cannot tell.

    Returns:
        Scans sorted by source and id, with everything set aside or dropped; the order of the input does not matter.
    """
    drafts = [
        CuratedScan(scan, record, split_of(scan.source, scan.patient_id, scan.official_split))
        for scan, record in zip(scans, records, strict=True)
    ]
    curation = Curation(sorted(drafts, key=lambda draft: draft.key))
    for step in STEPS:
        curation = step(curation, judge)
    curation.set_aside.sort(key=lambda entry: (entry.source, entry.scan_id))
    return curation


def _partition(curation: Curation, reason: str, detail_of: Callable[[CuratedScan], str | None]) -> Curation:
    """Set aside the scans for which `detail_of` returns a detail."""
    scans, aside = [], []
    for draft in curation.scans:
        detail = detail_of(draft)
        if detail is None:
            scans.append(draft)
        else:
            aside.append(SetAside(*draft.key, reason, detail))
    return replace(curation, scans=scans, set_aside=curation.set_aside + aside)


def set_aside_left_out(curation: Curation, judge: Judge) -> Curation:
    """Set aside scans that their source marks as unusable, also in an official test set."""
    reasons = dict.fromkeys(draft.scan.left_out[0] for draft in curation.scans if draft.scan.left_out)
    for reason in reasons:
        curation = _partition(
            curation,
            reason,
            partial(_detail_of, reason),
        )
    return curation


def _detail_of(reason: str, draft: CuratedScan) -> str | None:
    """Return the source's detail about a scan that it marks as unusable for a reason."""
    return draft.scan.left_out[1] if draft.scan.left_out and draft.scan.left_out[0] == reason else None


def set_aside_unreadable(curation: Curation, judge: Judge) -> Curation:
    """Set aside volumes that are empty, damaged or not a CT."""
    return _partition(curation, "unreadable_volume", lambda draft: draft.record.error)


def set_aside_duplicates(curation: Curation, judge: Judge) -> Curation:
    """Keep one of the scans whose volumes hold the same voxels; an official test set is kept whole."""
    ranked = sorted(curation.scans, key=lambda draft: (not draft.is_unfiltered, _KEEPS_FIRST[draft.split], draft.key))
    first: dict[str, CuratedScan] = {}
    for draft in ranked:
        first.setdefault(draft.record.content_hash or "", draft)

    def detail(draft: CuratedScan) -> str | None:
        kept = first[draft.record.content_hash or ""]
        if draft is kept or draft.is_unfiltered:
            return None
        return f"the same voxels as {kept.scan.source} {kept.scan.scan_id} ({kept.split})"

    return _partition(curation, "duplicate_volume", detail)


def split_reports(curation: Curation, judge: Judge) -> Curation:
    """Clean every report and split it into sentences."""
    scans = []
    for draft in curation.scans:
        sentences = tuple(split_sentences(clean_report(draft.scan.report)))
        scans.append(replace(draft, sentences=sentences, kept=tuple(range(len(sentences)))))
    return replace(curation, scans=scans)


def drop_sentences(curation: Curation, judge: Judge) -> Curation:
    """Drop the sentences with facts that no CT shows; an official test set keeps them."""
    judged = [draft for draft in curation.scans if not draft.is_unfiltered]
    verdicts = iter(judge.judge([sentence for draft in judged for sentence in draft.sentences]))
    scans, dropped = [], []
    for draft in curation.scans:
        if draft.is_unfiltered:
            scans.append(draft)
            continue
        rules = [next(verdicts) for _ in draft.sentences]
        scans.append(replace(draft, kept=tuple(index for index, rule in enumerate(rules) if rule is None)))
        dropped += [
            DroppedSentence(*draft.key, index, rule, draft.sentences[index])
            for index, rule in enumerate(rules)
            if rule is not None
        ]
    return replace(curation, scans=scans, dropped=curation.dropped + dropped)


def set_aside_short(curation: Curation, judge: Judge) -> Curation:
    """Set aside reports of fewer than `MIN_TOKENS` tokens; an official test set keeps them, but not empty ones."""

    def detail(draft: CuratedScan) -> str | None:
        tokens = count_tokens(draft.report)
        least = 1 if draft.is_unfiltered else MIN_TOKENS
        return None if tokens >= least else f"{tokens} tokens"

    return _partition(curation, "short_report", detail)


STEPS: tuple[CurationStep, ...] = (
    set_aside_left_out,
    set_aside_unreadable,
    set_aside_duplicates,
    split_reports,
    drop_sentences,
    set_aside_short,
)


def leaks(scans: Iterable[CuratedScan]) -> list[tuple[str, str]]:
    """Return the patients, as (source, patient id), that are in more than one split."""
    seen: dict[tuple[str, str], str] = {}
    found = set()
    for draft in scans:
        patient = (draft.scan.source, draft.scan.patient_id)
        if seen.setdefault(patient, draft.split) != draft.split:
            found.add(patient)
    return sorted(found)
