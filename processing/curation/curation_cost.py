"""Count what is lost with dropped sentences: tokens, and findings that a report no longer names."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..report_text import count_tokens
from .selection import CuratedScan, Curation

# Findings that are counted if a report names them, as present or as absent.
NAMED = {
    "nodule": r"nodul",
    "mass": r"\bmass(?:es)?\b",
    "effusion": r"effusion",
    "consolidation": r"consolidat",
    "ground glass": r"ground[- ]?glass",
    "atelectasis": r"atelecta",
    "emphysema": r"emphysem",
    "lymph node": r"lymph node|adenopath",
    "embolism": r"embol",
    "fracture": r"fractur",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in NAMED.items()}
_OPEN_ENDS = (";", ":")
_PUBLISHED = "as_published"  # decisions tell which sentences were dropped, but not the rule


def cost_of_rules(curation: Curation, sources: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Count, for each source and for all, what the rules removed from the kept reports.

    An official test set is not filtered, so its reports do not count. Shares are relative to the tokens before.

    Returns:
        By source: number of `reports`; share of `tokens_kept`; share of `tokens_dropped` by rule; `named`, by finding
        the number of reports that name it `before` and `after`; number of kept `sentences`, and of those that end in
        a semicolon or a colon as `open_ended`.
    """
    rules = {(entry.source, entry.scan_id, entry.index): entry.rule for entry in curation.dropped}
    judged = [draft for draft in curation.scans if not draft.is_unfiltered]
    parts = {source: [draft for draft in judged if draft.scan.source == source] for source in sources}
    return {name: _cost_of(part, rules) for name, part in (parts | {"all": judged}).items()}


def _cost_of(drafts: Sequence[CuratedScan], rules: dict[tuple[str, str, int], str]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    before = open_ended = sentences = 0
    named = {name: {"before": 0, "after": 0} for name in NAMED}
    for draft in drafts:
        kept = set(draft.kept)
        for index, sentence in enumerate(draft.sentences):
            tokens = count_tokens(sentence)
            before += tokens
            if index not in kept:
                dropped[rules.get((*draft.key, index), _PUBLISHED)] += tokens
        sentences += len(kept)
        open_ended += sum(draft.sentences[index].endswith(_OPEN_ENDS) for index in kept)
        whole, left = " ".join(draft.sentences), draft.report
        for name, pattern in _PATTERNS.items():
            named[name]["before"] += bool(pattern.search(whole))
            named[name]["after"] += bool(pattern.search(left))
    return {
        "reports": len(drafts),
        "tokens_kept": round(1 - dropped.total() / before, 4) if before else 1.0,
        "tokens_dropped": {rule: round(count / before, 4) for rule, count in sorted(dropped.items())},
        "named": named,
        "sentences": sentences,
        "open_ended": open_ended,
    }
