"""Write a report as a FHIR DiagnosticReport (R4B), validated, with the same marks as the DICOM objects."""

import base64
from html import escape
from typing import Any

from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from pydicom import Dataset

from .object_identity import ObjectIdentity
from .report_content import ReportContent
from .research_marks import MAKER, MARK
from .source_images import SourceImages

DICOM_UID = "urn:dicom:uid"
LOINC = "http://loinc.org"
REPLACES = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces"
RESEARCH = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH", "display": MARK}


def fhir_report(
    source: SourceImages, report: ReportContent, identity: ObjectIdentity, structured: Dataset, pdf: bytes
) -> str:
    """Return a DiagnosticReport as JSON; it refers to the study by its UID and to the patient by number alone.

    Args:
        source: the images.
        report: the report on them.
        identity: of its objects.
        structured: the DICOM structured report, whose UID names this one too.
        pdf: the report's page, which is part of it.
    """
    first = source.headers[0]
    writer = {"type": "Device", "identifier": _uid(identity.device_uid), "display": f"{MAKER} {report.version}"}
    content: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "meta": {"tag": [RESEARCH]},
        "text": {"status": "generated", "div": _narrative(report)},
        "identifier": [_uid(structured.SOPInstanceUID)],
        "status": "preliminary",
        "category": [{"coding": [{"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging report"}]}],
        "code": {"coding": [{"system": LOINC, "code": "25045-6", "display": "CT unspecified body region"}]},
        "issued": identity.written.astimezone().isoformat(),
        "performer": [writer],
        "imagingStudy": [{"type": "ImagingStudy", "identifier": _uid(first.StudyInstanceUID)}],
        "conclusion": " ".join([MARK, *(report.impression or report.findings)]),
        "presentedForm": [
            {"contentType": "application/pdf", "data": base64.b64encode(pdf).decode("ascii"), "title": MARK}
        ],
    }
    if report.replaces is not None:
        earlier = {"type": "DiagnosticReport", "identifier": _uid(report.replaces.sop)}
        content["extension"] = [{"url": REPLACES, "valueReference": earlier}]
    if first.PatientID:
        content["subject"] = {"type": "Patient", "identifier": {"value": first.PatientID}}
    return DiagnosticReport.model_validate(content).model_dump_json(indent=2, exclude_none=True) + "\n"


def _uid(uid: str) -> dict[str, str]:
    return {"system": DICOM_UID, "value": f"urn:oid:{uid}"}


def _narrative(report: ReportContent) -> str:
    parts = [f"<p><b>{escape(MARK)}</b></p>"]
    for heading, sentences in (("Findings", report.findings), ("Impression", report.impression)):
        if sentences:
            items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            parts.append(f"<p>{heading}</p><ul>{items}</ul>")
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(parts)}</div>'
