"""Reports as DICOM and FHIR: what is copied, what is repaired, what validators and readers say, what never shows."""

import dataclasses
import json
import logging
import re
import warnings
from datetime import datetime
from io import BytesIO

import highdicom as hd
import nibabel
import numpy as np
import pydicom
import pytest
from dicom_check import IMPRESSION, REMARKS, SENTENCES, check_study, missing_tools, texts_of
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from hostile_headers import NAMES, TYPE_2, set_anyway, slice_header, write_evidence, write_hostile_study
from PIL import Image
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from argus_hospital.objects.evidence_maps_read import on_the_images
from argus_hospital.objects.header_repair import COPIED, lawful_date, lawful_name, lawful_time, repaired_identity
from argus_hospital.objects.page_letters import marked_up
from argus_hospital.objects.report_content import ReportContent, load_report, sections_of
from argus_hospital.objects.report_page import report_pdf
from argus_hospital.objects.source_images import read_source_images
from argus_hospital.objects.write_objects import ObjectChoice, make_objects, write_objects
from argus_inference.preview import draw_planes
from argus_processing import read_ct
from argus_processing.ct_checks import CTReadError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of headers against the standard, on purpose
REPORT = {"report": f"{' '.join(SENTENCES)}\nImpression: {IMPRESSION}", "model_hash": "5e" * 32}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_hostile_study(tmp_path_factory.mktemp("hostile") / "study", seed=5)


@pytest.fixture
def report_file(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT) + "\n", encoding="utf-8")
    return path


@pytest.mark.skipif(bool(missing_tools()), reason="dicom3tools and dcmtk are not installed")
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_validators_find_no_error_in_any_object(tmp_path, seed):
    checked = check_study(tmp_path, seed)
    assert checked.faults == () and checked.num_objects >= 2


@pytest.mark.parametrize("kind", ["comprehensive", "basic"])
def test_a_structured_report_gives_back_its_sentences(study, report_file, tmp_path, kind):
    write_objects(study.folder, load_report(report_file, None), tmp_path / "out", ObjectChoice(kind))
    assert texts_of(tmp_path / "out" / "report.dcm") == [*SENTENCES, IMPRESSION]
    dataset = pydicom.dcmread(tmp_path / "out" / "report.dcm")
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "RESEARCH" in dataset.SeriesDescription and "RESEARCH" in dataset.CompletionFlagDescription
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == 24


@pytest.mark.parametrize("kind", ["comprehensive", "basic"])
def test_a_structured_report_tells_what_its_model_does_not_know(study, report_file, tmp_path, kind):
    limits = "learned from phantoms only"
    report = dataclasses.replace(load_report(report_file, None), model_facts={"limits": limits})
    write_objects(study.folder, report, tmp_path / "out", ObjectChoice(kind))
    assert f"Limits: {limits}" in texts_of(tmp_path / "out" / "report.dcm", REMARKS)


def test_the_same_report_gives_the_same_bytes_and_another_gives_new_uids(study, report_file):
    report = load_report(report_file, None)
    one, _ = make_objects(study.folder, report)
    again, _ = make_objects(study.folder, report)
    assert one == again
    report_file.write_text(json.dumps(REPORT | {"model_hash": "6f" * 32}))
    other, _ = make_objects(study.folder, load_report(report_file, None))
    uids = [_uids(content) for content in (one, other)]
    assert len(uids[0] | uids[1]) == len(uids[0]) + len(uids[1])


def test_a_picture_at_hand_is_not_drawn_again(study, report_file, monkeypatch):
    report = load_report(report_file, None)
    drawn, _ = make_objects(study.folder, report)
    picture = draw_planes(read_ct(study.folder))
    monkeypatch.setattr("argus_hospital.objects.write_objects.read_ct", None)
    assert make_objects(study.folder, dataclasses.replace(report, picture=picture))[0] == drawn


def _uids(contents):
    return {pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).SOPInstanceUID for content in contents.values()}


def test_patient_and_study_are_copied_and_nothing_else(study, report_file, tmp_path):
    out = tmp_path / "out"
    write_objects(study.folder, load_report(report_file, None), out, ObjectChoice(has_fhir=True))
    source = read_source_images(study.folder).headers[0]
    for name in ("report.dcm", "report.pdf.dcm"):
        dataset = pydicom.dcmread(out / name)
        assert all(dataset.get(keyword) == source.get(keyword) for keyword in (*COPIED, "StudyInstanceUID"))
        own = {element.keyword for element in dataset if element.tag.group in (0x0010, 0x0012, 0x0032, 0x0038)}
        assert own <= set(COPIED)
    assert str(dataset.PatientName) == study.name and study.name not in (out / "report.fhir.json").read_text()


@pytest.mark.parametrize(
    ("repair", "given", "lawful"),
    [
        (lawful_date, "2024-01-31", "20240131"), (lawful_date, "2024.1.5", "20240105"), (lawful_date, "20240231", ""),
        (lawful_date, "unknown", ""), (lawful_date, "31.01.2024", ""), (lawful_time, "10:15:30", "101530"),
        (lawful_time, "101530.1234567", "101530.123456"), (lawful_time, "25", ""), (lawful_time, "1015", "1015"),
        (lawful_name, "A^B^C^D^E^F", ""), (lawful_name, "x" * 65, ""), (lawful_name, "山田^太郎=\n", "山田^太郎"),
    ],
)  # fmt: skip
def test_values_are_brought_into_the_lawful_form_or_left_empty(repair, given, lawful):
    assert repair(given) == lawful


def test_a_number_that_is_too_long_is_left_empty_and_not_cut():
    header = Dataset()
    set_anyway(header, "AccessionNumber", "A" * 20)
    identity, emptied = repaired_identity(header)
    assert identity.AccessionNumber == "" and emptied == ("AccessionNumber",)
    assert all(keyword in identity for keyword in TYPE_2)


def test_a_name_whose_bytes_are_no_letters_is_left_empty():
    header = Dataset()
    header.PatientName = "M\ufffdller^Jan"
    assert repaired_identity(header)[0].PatientName == "" and repaired_identity(header)[1] == ("PatientName",)


def test_control_letters_of_a_report_reach_no_object(study, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT | {"report": "No\x00 nodule\x1b[31m.\tClear \\ lungs."}))
    write_objects(study.folder, load_report(path, None), tmp_path / "out", ObjectChoice(has_fhir=True))
    assert texts_of(tmp_path / "out" / "report.dcm") == ["No nodule [31m.", "Clear \\ lungs."]


@pytest.mark.parametrize("seed", range(len(NAMES)))
def test_a_name_of_any_script_arrives_as_it_was(tmp_path, seed):
    study = write_hostile_study(tmp_path / "study", seed, num_slices=10)
    if "PatientName" not in study.missing:
        assert str(read_source_images(study.folder).headers[0].PatientName) == study.name


def test_evidence_lies_on_the_images_where_the_map_has_it(study, report_file, tmp_path):
    evidence = write_evidence(study.folder, tmp_path / "map.nii.gz")
    write_objects(study.folder, load_report(report_file, None), tmp_path / "out", ObjectChoice(evidence=evidence))
    segmentation = hd.seg.segread(tmp_path / "out" / "evidence-01.dcm")
    uids = [image.SOPInstanceUID for image in read_source_images(study.folder).headers]
    frames = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0]
    slices, rows, columns = np.nonzero(frames > 0.5)
    assert frames.max() == 1 and (slices.mean(), rows.mean(), columns.mean()) == pytest.approx((12, 46, 68), abs=2)
    assert "unverified" in segmentation.ContentDescription


def test_evidence_of_slices_with_an_odd_number_of_voxels_is_written(study, report_file, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for path in study.folder.iterdir():
        header = pydicom.dcmread(path)
        pixels = header.pixel_array[:95, :91]
        header.Rows, header.Columns = pixels.shape
        header.PixelData = pixels.tobytes() + b"\0"
        header.save_as(folder / path.name)
    evidence = write_evidence(folder, tmp_path / "map.nii.gz")
    write_objects(folder, load_report(report_file, None), tmp_path / "out", ObjectChoice(evidence=evidence))
    segmentation = hd.seg.segread(tmp_path / "out" / "evidence-01.dcm")
    assert segmentation.pixel_array.shape[1:] == (95, 91) and segmentation.pixel_array.max() == 255


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAR", "PIL"])
def test_a_map_with_other_axes_falls_on_the_same_voxels(study, codes):
    source = read_source_images(study.folder)
    values = np.random.default_rng(0).random(source.shape[::-1], dtype=np.float32)
    image = nibabel.Nifti1Image(values, source.affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(source.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    placed = on_the_images(np.asarray(turned.dataobj), turned.affine, source)
    np.testing.assert_array_equal(placed, values.transpose(2, 1, 0))
    shifted = turned.affine.copy()
    shifted[:3, 3] += 0.3  # off the grid, so that it is interpolated
    near = on_the_images(np.asarray(turned.dataobj), shifted, source)
    assert np.corrcoef(near[1:-1].ravel(), placed[1:-1].ravel())[0, 1] > 0.9


def test_a_diagnostic_report_is_valid_and_marked(study, report_file, tmp_path):
    out = tmp_path / "out"
    write_objects(study.folder, load_report(report_file, None), out, ObjectChoice(has_fhir=True))
    report = DiagnosticReport.model_validate_json((out / "report.fhir.json").read_text())
    assert report.status == "preliminary" and report.conclusion.startswith("Machine-written draft, unverified")
    structured = pydicom.dcmread(out / "report.dcm")
    assert report.identifier[0].value == f"urn:oid:{structured.SOPInstanceUID}"
    assert report.imagingStudy[0].identifier.value == f"urn:oid:{structured.StudyInstanceUID}"


def test_images_without_uids_are_refused(tmp_path, report_file):
    for index in range(10):
        header = slice_header(tmp_path / "new", index, 10, "1.2.3", "1.2.4")
        header.StudyInstanceUID = ""
        (tmp_path / "study").mkdir(exist_ok=True)
        header.save_as(tmp_path / "study" / f"{index}.dcm")
    with pytest.raises(CTReadError, match="no lawful StudyInstanceUID"):
        make_objects(tmp_path / "study", load_report(report_file, None))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("A text alone.", "does not name its model"),
        ('{"report": "x"}', "is no line of argus report --json"),
        ('{"report": "x", "model_hash": "y"}', "its report is no text"),
        (json.dumps(REPORT) + "\n" + json.dumps(REPORT), "holds 2 reports"),
        (json.dumps(REPORT | {"report": " "}), "holds no report"),
        (json.dumps(REPORT | {"series": "a name"}), "its series is no UID"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, text, cause):
    path = tmp_path / "report.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=cause):
        load_report(path, None)


def test_findings_and_impression_are_told_apart():
    assert sections_of("No nodule. Clear lungs.\nIMPRESSION: Normal.") == (("No nodule.", "Clear lungs."), ("Normal.",))
    assert sections_of("No nodule.") == (("No nodule.",), ())


def test_a_page_has_letters_of_east_asia_in_a_font_of_their_language():
    assert marked_up("右侧 <5 mm") == '<font name="STSong-Light">右侧</font> &lt;5 mm'
    assert marked_up("右に") == '<font name="HeiseiKakuGo-W5">右に</font>'
    assert (
        marked_up("양측 右") == '<font name="HYSMyeongJo-Medium">양측</font> <font name="HYSMyeongJo-Medium">右</font>'
    )
    assert marked_up("Größe Εύρημα") == "Größe Εύρημα"
    sentences = ("右侧少量胸腔积液。" * 30, "右に結節。", "양측 폐.", "Größe 5 mm")
    report = ReportContent(sentences, (), "5e" * 32, {}, datetime(2024, 1, 31))
    picture = BytesIO()
    Image.new("RGB", (30, 10)).save(picture, "png")
    page = report_pdf(report, picture.getvalue(), "1.2.3")
    fonts = set(re.findall(rb"/BaseFont /(?:[A-Z]{6}[+])?([\w-]+)", page))
    assert {b"STSong-Light", b"HeiseiKakuGo-W5", b"HYSMyeongJo-Medium", b"DejaVuSans"} <= fonts


def test_a_report_that_names_its_series_goes_to_no_other(argus, study, report_file, tmp_path):
    series = str(read_source_images(study.folder).headers[0].SeriesInstanceUID)
    report_file.write_text(json.dumps(REPORT | {"series": series}))
    assert argus("dicom", study.folder, report_file, tmp_path / "out")[0] == 0
    report_file.write_text(json.dumps(REPORT | {"series": "1.2.3"}))
    code, _, said = argus("dicom", study.folder, report_file, tmp_path / "new")
    assert code == 2 and "no series is called 1.2.3" in said


SECRETS = (
    "PatientName PatientID PatientComments PatientAddress PatientTelephoneNumbers OtherPatientNames "
    "PatientMotherBirthName MilitaryRank EthnicGroup Occupation AdditionalPatientHistory MedicalRecordLocator "
    "CountryOfResidence RegionOfResidence PatientReligiousPreference ResponsiblePerson ResponsibleOrganization "
    "InstitutionName InstitutionAddress InstitutionalDepartmentName ReferringPhysicianName "
    "ReferringPhysicianAddress PhysiciansOfRecord PerformingPhysicianName OperatorsName "
    "NameOfPhysiciansReadingStudy StudyDescription SeriesDescription ProtocolName StationName "
    "RequestingPhysician RequestingService RequestedProcedureDescription PerformedProcedureStepDescription "
    "AdmissionID CurrentPatientLocation VisitComments StudyComments ImageComments DeviceSerialNumber "
    "AccessionNumber StudyID"
).split()


def test_planted_values_show_in_no_message_log_or_page(argus, tmp_path, model_dir, report_file, caplog):
    """Each element holds a text of its own; objects may hold those that the standard copies."""
    folder, secrets = tmp_path / "study", {}
    folder.mkdir()
    for index in range(80):
        header = slice_header(folder / f"{index}.dcm", index, 80, "1.2.3", "1.2.4")
        for number, keyword in enumerate(SECRETS):
            secrets[keyword] = f"SECRET{number:02d}X"
            assert dictionary_VR(keyword) in ("PN", "LO", "SH", "LT", "ST", "UT")
            set_anyway(header, keyword, secrets[keyword])
        header.save_as(folder / f"{index}.dcm")
    assert len(secrets) >= 40
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        runs = [
            argus("series", folder),
            argus("series", folder, "--json"),
            argus("dicom", folder, report_file, tmp_path / "out", "--fhir"),
            argus("dicom", folder, report_file, tmp_path / "new", "--series", "9.9"),
            argus("report", folder, "--model", model_dir, "--max-new-tokens", 4),
        ]
    told = "".join(part for _, *parts in runs for part in parts) + caplog.text
    told += "".join(str(warning.message) for warning in warned)
    assert [code for code, *_ in runs] == [0, 0, 0, 2, 0]
    assert re.findall("SECRET[0-9]{2}X", told) == []
    copied = {secrets[keyword] for keyword in SECRETS if keyword in COPIED}
    for path in (tmp_path / "out").iterdir():
        assert {match.decode() for match in re.findall(rb"SECRET[0-9]{2}X", path.read_bytes())} <= copied


def test_the_command_writes_the_objects_of_the_chosen_series(argus, study, report_file, tmp_path, model_dir):
    code, told, _ = argus("dicom", study.folder, report_file, tmp_path / "out", "--sr", "basic")
    assert code == 0 and [line.rpartition("/")[2] for line in told.split()] == ["report.pdf.dcm", "report.dcm"]
    code, _, said = argus("dicom", study.folder, report_file, tmp_path / "new", "--model", model_dir)
    assert code == 2 and "was written by another model" in said and not (tmp_path / "new").exists()
    code, _, said = argus("dicom", study.folder, report_file, tmp_path / "out")
    assert code == 2 and "is not an empty folder" in said
    code, _, said = argus("dicom", study.folder, report_file, study.folder / "out")
    assert code == 2 and "lies in the scan" in said
