import pytest

from argus_processing.report_text import clean_report, split_sentences
from argus_processing.sources import bimcv_r_text, inspect_ctpa_text
from argus_processing.sources.ct_rate_text import given_text
from argus_processing.sources.numbered_lists import split_numbered


def sentences(text: str) -> list[str]:
    return split_sentences(clean_report(text))


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("No effusion.rest of the lobules normal.Conclusion normal.", 3),
        ("Cyst in segment 7.No adenopathies .Normal spleen (small).Kidneys normal.", 4),
        ("Pneumonia by COVID19.without other changes.Stable?No.", 4),
        ("Study performed..Clear lungs...no effusion.", 3),
        ("Helical TC with contrast IV.Findings Atelectasis.9 nodules are seen.", 3),
    ],
)
def test_full_stops_without_a_space_end_sentences(text, due):
    found = sentences(bimcv_r_text.clean_text(text))
    assert len(found) == due
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "A nodule of 3.5cm at 10.30h, 12.04.2021, No.5, fig.2 and approx.9 mm.",
        "Opacity, e.g.consolidation, i.e.pneumonia, left vs.right, by Dr.Smith.",
        "Stored as scan.nii.gz and report.pdf on www.hospital.es, levels L4.L5 and 2.5 mm.",
        "Diameter 0.5 cm (small.), 1.25x2.5 mm.",
    ],
)
def test_full_stops_inside_numbers_abbreviations_and_names_cut_nothing(text):
    cleaned = bimcv_r_text.clean_text(text)
    assert sentences(cleaned) == [cleaned]
    assert cleaned.replace("e.g. ", "e.g.").replace("i.e. ", "i.e.") == text


def test_bimcv_r_lists_leave_no_number_behind():
    text = "Fibrous tracts.CONCLUSION 1.Persistence of opacities.2.Cyst .3.Small node"
    assert sentences(bimcv_r_text.clean_text(text)) == [
        "Fibrous tracts.",
        "CONCLUSION.",
        "Persistence of opacities.",
        "Cyst.",
        "Small node.",
    ]


def test_bimcv_r_habits_of_its_translation_are_no_false_friends():
    text = "Opacities in tired glass and Tangled glass.High -resolution technique.Non -free air.A glass eye, 3 -4 cm"
    assert bimcv_r_text.clean_text(text) == (
        "Opacities in ground glass and ground glass. High-resolution technique. Non-free air. A glass eye, 3 -4 cm."
    )


def test_bimcv_r_arch_and_anterior_parts_are_named_rightly():
    text = "Aortic fell of normal caliber.Mass in the previous segment.Previous costal arches.Previous study."
    assert bimcv_r_text.clean_text(text) == (
        "Aortic arch of normal caliber. Mass in the anterior segment. anterior costal arches. Previous study."
    )


def test_bimcv_r_placeholders_are_known_and_sentences_of_names_dropped():
    for text in (
        "Something wrong with the data! ####",
        " something wrong with the data!\n",
        "Something wrong with the data!#",
    ):
        assert bimcv_r_text.is_placeholder(text)
    for text in ("Something wrong with the data! No effusion.", "", "#", "Clear lungs."):
        assert not bimcv_r_text.is_placeholder(text)
    text = "PATIENT NAME NAME NAME HC.Clear lungs.Fdo.Dr.Name Name Name Medical Collegiate Radiologist No Num"
    assert bimcv_r_text.clean_text(text) == "Clear lungs."


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. No PE. 2. Effusion. 3. Cyst.", ["No PE.", "Effusion.", "Cyst."]),
        ("1) No PE 2) Effusion of 1.2 cm", ["No PE", "Effusion of 1.2 cm"]),
        ("1.No PE.2.Effusion.", ["No PE.", "Effusion."]),
        ("(1) No PE. (2) Effusion.", ["No PE.", "Effusion."]),
        (
            "1. Nodule in segment 2. 2. Fracture of rib 3. 3. Node at T4.",
            ["Nodule in segment 2.", "Fracture of rib 3.", "Node at T4."],
        ),
        ("1. No PE.\r\n2. Effusion.", ["No PE.", "Effusion."]),
        (
            "Head: 1. No PE. 2. Cyst. Addendum: 1. Node. 2. Rib.",
            ["Head:", "No PE.", "Cyst. Addendum:", "Node.", "Rib."],
        ),
        ("Nodule in segment 2. Cyst of 3. 5 mm.", ["Nodule in segment 2. Cyst of 3. 5 mm."]),
        ("CONCLUSION 1. No PE. 2. Cyst.", ["CONCLUSION", "No PE.", "Cyst."]),
        ("No PE.", ["No PE."]),
        ("", []),
    ],
)
def test_inline_lists_come_apart_by_their_running_numbers(text, items):
    assert split_numbered(text) == items


SIGNED = (
    "I have personally reviewed the images for this examination and agree with the report transcribed above. By: <hcw>",
    "END OF IMPRESSION: SUMMARY: 4-POSSIBLE SIGNIFICANT FINDINGS, MAY NEED ACTION I have reviewed the images",
    "Findings were discussed with Dr. <hcw> by telephone at <time> on <date>.",
    "The preliminary report was discussed with <hcw> of the emergency department at approximately <time>.",
    "Dr. Smith was notified of the findings at 3:40 pm.",
    "I, the attending radiologist, have reviewed the images and agree with the above interpretation.",
    "Please note this was an on-call case. SUMMARY 2: ABNORMAL, PREVIOUSLY REPORTED",
    "Physician to Physician Radiology Consult Line: (650) 555-0100",
    "Electronically signed by: <hcw>. ACCESSION NUMBER: 123 This report has been anonymized.",
    "ATTENDING RADIOLOGIST: <hcw>",
)


@pytest.mark.parametrize("signed", SIGNED)
def test_inspect_keeps_what_is_seen_and_not_who_signed_or_was_told(signed):
    text = f"IMPRESSION: 1. No pulmonary embolism. 2. Small effusions, left greater than right. 3. {signed}"
    assert sentences(inspect_ctpa_text.clean_text(text)) == [
        "No pulmonary embolism.",
        "Small effusions, left greater than right.",
    ]


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("1. No PE 2. Right lower lobe consolidation", ["No PE.", "Right lower lobe consolidation."]),
        ("Unchanged cyst since <date>, with a rim.", ["Unchanged cyst since, with a rim."]),
        ("Small nodule on the CT of <date> at <time> (<date>).", ["Small nodule on the CT."]),
        ("Slightly larger than on <date>. Clear lungs.", ["Clear lungs."]),
        ("Nodule <5 mm. Node < 1 cm > 0.5 cm.", ["Nodule <5 mm.", "Node < 1 cm > 0.5 cm."]),
        ("<hcw> <date>", []),
        ("1. 2.", []),
    ],
)
def test_inspect_placeholders_leave_readable_sentences(text, due):
    assert sentences(inspect_ctpa_text.clean_text(text)) == due


@pytest.mark.parametrize(
    "section",
    [
        "Not given.",
        "not specified",
        "Not Specified.",
        "",
        " ",
        "nan",
        "NaN",
        '"Not given."',
        "Impression: Not given.",
        "None",
        "N/A",
        "-",
        "Not given. Not given.",
    ],
)
def test_ct_rate_filling_words_are_no_text(section):
    assert given_text(section) == ""


@pytest.mark.parametrize(
    ("section", "due"),
    [
        ("Clear lungs. Not given.", "Clear lungs."),
        ("No nodule is given here.", "No nodule is given here."),
        ("Normal.", "Normal."),
        ("None of the nodules is calcified.", "None of the nodules is calcified."),
        ("Contrast was not given. Heart is normal.", "Contrast was not given. Heart is normal."),
        ("  Nodule 3.5 mm. ", "Nodule 3.5 mm."),
    ],
)
def test_ct_rate_text_that_says_something_stays(section, due):
    assert given_text(section) == due
