"""Write a report's PDF as a DICOM object (Encapsulated PDF)."""

from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from .object_identity import ObjectIdentity, stamp
from .research_marks import SHORT_MARK
from .source_images import SourceImages

PDF_NUMBER = 9002
REPORT_TITLE = CodedConcept("18748-4", "LN", "Diagnostic imaging report")


def encapsulated_pdf(source: SourceImages, pdf: bytes, identity: ObjectIdentity) -> Dataset:
    """Return the object of a PDF that names no patient."""
    first = source.headers[0]
    dataset = SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=first.PatientID,
        patient_name=first.PatientName,
        patient_birth_date=first.PatientBirthDate,
        patient_sex=first.PatientSex,
        accession_number=first.AccessionNumber,
        study_id=first.StudyID,
        study_date=first.StudyDate,
        study_time=first.StudyTime,
        referring_physician_name=first.ReferringPhysicianName,
        **identity.arguments("pdf", PDF_NUMBER),
    )
    dataset.copy_patient_and_study_information(first)
    stamp(dataset, identity)
    dataset.ConversionType, dataset.BurnedInAnnotation = "SYN", "NO"
    dataset.AcquisitionDateTime = ""
    dataset.DocumentTitle, dataset.ConceptNameCodeSequence = SHORT_MARK, [REPORT_TITLE]
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    dataset.SourceInstanceSequence = [_reference(image) for image in source.headers]
    return dataset


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item
