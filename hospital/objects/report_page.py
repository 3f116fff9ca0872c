"""Write a report as a PDF on A4: the scan in three planes, the sentences, the model, and the marks on every page."""

import hashlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Image, ListFlowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from .page_letters import BOLD, FONT, has_east_asian, marked_up, register_fonts
from .report_content import ReportContent
from .research_marks import MAKER, MARK

MARGIN = 18 * mm
RED, QUIET = HexColor("#a00020"), HexColor("#555555")
TITLE = ParagraphStyle("title", fontName=BOLD, fontSize=15, leading=20)
HEADING = ParagraphStyle("heading", fontName=BOLD, fontSize=11, leading=16, spaceBefore=8)
BODY = ParagraphStyle("body", fontName=FONT, fontSize=9.5, leading=13)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=7.5, leading=10, textColor=QUIET)
WARNING = ParagraphStyle(
    "warning", parent=BODY, fontName=BOLD, textColor=RED, borderColor=RED, borderWidth=1, borderPadding=5
)


def report_pdf(report: ReportContent, picture: bytes, series: str) -> bytes:
    """Return a PDF of a report; the same report and picture give the same bytes.

    It names neither the patient nor the study: the DICOM object around it does.

    Args:
        report: the report.
        picture: PNG of the scan in three planes.
        series: UID of the series that was read.
    """
    register_fonts()
    file = BytesIO()
    page = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title="CT report, machine-written draft",
        author=MAKER,
        subject=MARK,
        keywords=[text_hash(report)],
        lang="en",
        invariant=1,
    )
    page.build([*_content(report, picture, series)], onFirstPage=_foot, onLaterPages=_foot)
    return file.getvalue()


def text_hash(report: ReportContent) -> str:
    """Return the SHA-256 of a report's text, which its PDF holds as a keyword, so that it can be compared."""
    return hashlib.sha256(report.text.encode()).hexdigest()


def _content(report: ReportContent, picture: bytes, series: str) -> Iterator[Any]:
    yield Paragraph("CT report, machine-written draft", TITLE)
    yield Spacer(1, 3 * mm)
    yield Paragraph(MARK, WARNING)
    yield Spacer(1, 5 * mm)
    width, height = ImageReader(BytesIO(picture)).getSize()
    wide = A4[0] - 2 * MARGIN - 12  # the frame's own padding
    yield Image(BytesIO(picture), width=wide, height=wide * height / width)
    for heading, sentences in (("Findings", report.findings), ("Impression", report.impression)):
        if sentences:
            yield Paragraph(heading, HEADING)
            yield _list(sentences)
    yield Paragraph("Origin", HEADING)
    yield _facts(report, series)


def _list(sentences: Sequence[str]) -> ListFlowable:
    items = [_paragraph(sentence, BODY) for sentence in sentences]
    return ListFlowable(items, bulletType="bullet", bulletFontName=FONT, bulletFontSize=7, leftIndent=12)


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    if has_east_asian(text):
        style = ParagraphStyle(f"{style.name} east asian", parent=style, wordWrap="CJK")
    return Paragraph(marked_up(text), style)


def _facts(report: ReportContent, series: str) -> Table:
    facts = {"Written by": f"{MAKER}, {report.version}", "Written at": f"{report.written:%Y-%m-%d %H:%M:%S}"}
    facts |= {"Series read": series, "Model's SHA-256": report.model_hash}
    facts |= report.model_texts
    if report.settings:
        facts["Settings"] = report.settings
    if report.replaces is not None:
        facts["Replaces the report"] = report.replaces.sop
    rows = [[_paragraph(name, SMALL), _paragraph(value, SMALL)] for name, value in facts.items()]
    table = Table(rows, colWidths=[35 * mm, A4[0] - 2 * MARGIN - 35 * mm - 12], hAlign="LEFT")
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1)]))
    return table


def _foot(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(FONT, 7)
    canvas.setFillColor(RED)
    canvas.drawString(MARGIN, 10 * mm, MARK)
    canvas.setFillColor(QUIET)
    canvas.drawRightString(A4[0] - MARGIN, 10 * mm, str(document.page))
    canvas.restoreState()
