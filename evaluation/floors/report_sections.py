"""Split a report into its findings and its impression, where it tells them apart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from argus_processing.report_text import split_sentences

# A head stands at the start of the text, of a line or after a full stop, and ends with a colon.
_IMPRESSION = re.compile(r"(?:^|\n|(?<=[.;!?\"]))\s*(?:impressions?|conclusions?|opinion)\s*:\s*", re.IGNORECASE)
_OPENING = re.compile(r"\s*(?:findings?|report|results?|ct)(?: of the [a-z ]{2,30})?\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Sections:
    """A report in two parts with their heads; `impression` is None if the report has no head of it."""

    opening: str
    findings: str
    head: str
    impression: str | None

    def join(self, findings: str, impression: str) -> str:
        """Return a report with these heads and other texts; without a text, its head is left out."""
        parts = [self.opening + findings if findings else "", self.head + impression if impression else ""]
        return "".join(parts).strip()


def split_sections(report: str) -> Sections:
    """Split a report at the head of its impression ("Impression:", "Conclusion:"), the last one if it has several."""
    heads = list(_IMPRESSION.finditer(report))
    body = report[: heads[-1].start()] if heads else report
    opening = _OPENING.match(body)
    findings = body[opening.end() :] if opening else body
    return Sections(
        opening[0] if opening else "",
        findings.strip(),
        heads[-1][0] if heads else "",
        report[heads[-1].end() :].strip() if heads else None,
    )


def sentences_of(report: str) -> list[str]:
    """Return the sentences of both sections, without heads; lines end sentences too."""
    sections = split_sections(report)
    return [*lines_and_sentences(sections.findings), *lines_and_sentences(sections.impression or "")]


def lines_and_sentences(text: str) -> list[str]:
    """Split a text into lines and these into sentences."""
    return list(_sentences(text))


def _sentences(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from split_sentences(line)
