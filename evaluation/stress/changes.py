"""List the errors and the harmless changes of the stress test, and check by rules that each is what it claims to be.

To add one, write a `ChangeReport` and its line in `ERRORS` or `HARMLESS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from .finding_errors import deny_or_state, invent_finding, move_to_other_organ, omit_finding
from .harmless_changes import move_sentences, reword_sentences, swap_synonyms, vary_blanks
from .report_facts import ReportFacts, read_facts
from .word_errors import grade_errors, lobe_errors, side_errors, size_errors

# Gives a changed report, or None if the report has no place for such a change.
ChangeReport = Callable[[str, np.random.Generator], str | None]
_FACTS = frozenset(field.name for field in fields(ReportFacts))


@dataclass(frozen=True)
class Change:
    """A way to change a report.

    Attributes:
        apply: makes the change.
        changes: facts that must differ after it.
        may_change: facts that may differ besides; all others must stay.
        labels_after: how the stated labels after it must relate to those before. Default: in any way.
    """

    apply: ChangeReport
    changes: frozenset[str] = frozenset()
    may_change: frozenset[str] = frozenset()
    labels_after: Callable[[frozenset[str], frozenset[str]], bool] = lambda after, before: True

    def make(self, report: str, rng: np.random.Generator) -> str | None:
        """Return a changed report of which the rules read what the change claims; None if there is none."""
        changed = self.apply(report, rng)
        if changed is None or changed == report or not changed.strip():
            return None
        return changed if self.is_kept(read_facts(report), read_facts(changed)) else None

    def is_kept(self, before: ReportFacts, after: ReportFacts) -> bool:
        """Return whether all facts that must differ do, and all that must stay do."""
        differing = {name for name in _FACTS if getattr(before, name) != getattr(after, name)}
        return self.changes <= differing <= self.changes | self.may_change and self.labels_after(
            after.stated, before.stated
        )


ERRORS: dict[str, Change] = {
    "negation": Change(deny_or_state, frozenset({"stated"}), frozenset({"denied"})),
    "side": Change(side_errors, frozenset({"sides"})),
    "lobe": Change(lobe_errors, frozenset({"lobes"})),
    "severity": Change(grade_errors, frozenset({"grades"})),
    "size": Change(size_errors, frozenset({"sizes_mm"})),
    "omission": Change(omit_finding, frozenset({"stated"}), _FACTS, frozenset.__lt__),
    "invention": Change(invent_finding, frozenset({"stated"}), _FACTS, frozenset.__gt__),
    "wrong organ": Change(move_to_other_organ, frozenset({"organs"}), _FACTS - {"sizes_mm", "grades"}),
}
HARMLESS: dict[str, Change] = {
    "paraphrase": Change(reword_sentences),
    "sentence order": Change(move_sentences),
    "synonyms": Change(swap_synonyms),
    "whitespace": Change(vary_blanks),
}
