"""Write a report as a DICOM structured report: measurement report (TID 1500) or basic text (TID 2000)."""

from collections.abc import Sequence
from typing import Any

from highdicom import sr
from highdicom.sr.value_types import ContentSequence
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import BasicTextSRStorage

from .object_identity import ObjectIdentity, stamp
from .report_content import ReportContent
from .research_marks import DEVICE_NAME, MAKER, MARK, SHORT_MARK, STATION_NAME
from .source_images import SourceImages

CT_PROCEDURE = sr.CodedConcept("25045-6", "LN", "CT unspecified body region")  # of CID 100
REPORT_TITLE = sr.CodedConcept("18748-4", "LN", "Diagnostic imaging report")
QUALITATIVE = sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
FINDINGS = sr.CodedConcept("59776-5", "LN", "Findings")
IMPRESSIONS = sr.CodedConcept("19005-8", "LN", "Impressions")
SUMMARY = sr.CodedConcept("55112-7", "LN", "Summary")
ENGLISH = sr.CodedConcept("en", "RFC5646", "English")
SR_NUMBER = 9001
# The kinds of objects, by which they have their UIDs.
KINDS = {"comprehensive": "comprehensive sr", "basic": "basic text sr"}


def comprehensive_report(source: SourceImages, report: ReportContent, identity: ObjectIdentity) -> Dataset:
    """Return a Comprehensive 3D SR by template TID 1500, with each sentence as a qualitative evaluation."""
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=identity.uid("scan"), identifier="whole scan"),
        algorithm_id=sr.AlgorithmIdentification(
            name=DEVICE_NAME,
            version=identity.version,
            parameters=[report.settings] if report.settings else None,
            manufacturer=MAKER,
        ),
    )
    tree = sr.MeasurementReport(
        observation_context=_observation(identity),
        procedure_reported=CT_PROCEDURE,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(ENGLISH),
    )
    about = [_text(codes.DCM.Comment, told) for told in _about(report)]
    tree[0].ContentSequence.append(_container(QUALITATIVE, [*about, *_sentences(report)]))
    dataset = sr.Comprehensive3DSR(
        evidence=source.headers,
        content=tree,
        previous_versions=_replaced(report),
        **_flags(),
        **identity.arguments(KINDS["comprehensive"], SR_NUMBER),
    )
    return _finished(dataset, identity)


def basic_text_report(source: SourceImages, report: ReportContent, identity: ObjectIdentity) -> Dataset:
    """Return a Basic Text SR by template TID 2000: sections of sentences, for viewers that show text only."""
    root = sr.ContainerContentItem(name=REPORT_TITLE, is_content_continuous=False, template_id="2000")
    content = ContentSequence()
    content.extend(sr.LanguageOfContentItemAndDescendants(ENGLISH))
    content.extend(_observation(identity))
    content.append(_container(SUMMARY, [_text(SUMMARY, told) for told in _about(report)]))
    content.append(_container(FINDINGS, [_text(codes.DCM.Finding, told) for told in report.findings or ("-",)]))
    if report.impression:
        content.append(_container(IMPRESSIONS, [_text(codes.DCM.Impression, told) for told in report.impression]))
    root.ContentSequence = content
    dataset = sr.EnhancedSR(
        evidence=source.headers,
        content=root,
        previous_versions=_replaced(report),
        **_flags(),
        **identity.arguments(KINDS["basic"], SR_NUMBER),
    )
    # highdicom has no class for it. The content is of text only, which both kinds take.
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    return _finished(dataset, identity)


def _replaced(report: ReportContent) -> list[Dataset] | None:
    """Return the earlier report as highdicom takes it."""
    if report.replaces is None:
        return None
    earlier = Dataset()
    earlier.StudyInstanceUID, earlier.SeriesInstanceUID = report.replaces.study, report.replaces.series
    earlier.SOPClassUID, earlier.SOPInstanceUID = report.replaces.sop_class, report.replaces.sop
    return [earlier]


def _flags() -> dict[str, Any]:
    return {"is_complete": True, "is_final": False, "is_verified": False}


def _observation(identity: ObjectIdentity) -> sr.ObservationContext:
    attributes = sr.DeviceObserverIdentifyingAttributes(
        uid=identity.device_uid,
        name=DEVICE_NAME,
        manufacturer_name=MAKER,
        model_name=identity.version,
        serial_number=identity.model_hash[:16],
    )
    device = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=attributes)
    return sr.ObservationContext(observer_device_context=device)


def _about(report: ReportContent) -> list[str]:
    """Return the marks, and what the model was made from and does not know."""
    return [MARK, *(f"{name}: {value}" for name, value in report.model_texts.items())]


def _sentences(report: ReportContent) -> list[sr.TextContentItem]:
    findings = [_text(codes.DCM.Finding, told) for told in report.findings]
    return findings + [_text(codes.DCM.Impression, told) for told in report.impression]


def _text(name: Any, value: str) -> sr.TextContentItem:
    return sr.TextContentItem(name=name, value=value, relationship_type="CONTAINS")


def _container(name: sr.CodedConcept, items: Sequence[sr.TextContentItem]) -> sr.ContainerContentItem:
    box = sr.ContainerContentItem(name=name, is_content_continuous=False, relationship_type="CONTAINS")
    box.ContentSequence = ContentSequence(items)
    return box


def _finished(dataset: Dataset, identity: ObjectIdentity) -> Dataset:
    """Add who wrote the document, and the marks."""
    stamp(dataset, identity)
    dataset.CompletionFlagDescription = SHORT_MARK
    author = Dataset()
    author.ObserverType, author.StationName, author.DeviceUID = "DEV", STATION_NAME, identity.device_uid
    author.Manufacturer, author.ManufacturerModelName = MAKER, DEVICE_NAME
    author.InstitutionName, author.InstitutionCodeSequence = None, []
    dataset.AuthorObserverSequence = [author]
    return dataset
