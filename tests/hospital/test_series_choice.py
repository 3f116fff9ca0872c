"""The choice of the series that is read: in vendors' words, against known answers, from folders of files."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_bodies import BodyLibrary, ct_file, draw_body, set_hu
from pydicom.uid import SecondaryCaptureImageStorage
from series_bench import outcomes_of
from vendor_studies import AXIAL, CORONAL, WORDS, StudyDrawing, draw_studies

from argus_hospital.series.kernels import kernel_of
from argus_hospital.series.lungs_seen import judge_cuts, lung_and_body_mm2
from argus_hospital.series.series_choice import CHOSEN, LOWER, NoSeriesError, choose_named, choose_series
from argus_hospital.series.series_facts import body_of
from argus_hospital.series.series_words import vocabulary_of
from argus_hospital.series.site_preferences import SitePreferences, load_preferences
from argus_hospital.series.study_files import SeriesLabels, read_study, study_paths
from argus_processing.read_ct import read_ct

REAL_SERIES = Path(os.environ.get("ARGUS_SHARED_DATA", "/none"), "ct/dicom_series")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return BodyLibrary(tmp_path_factory.mktemp("bodies"))


@pytest.fixture
def drawing(library, tmp_path):
    drawing = StudyDrawing(np.random.default_rng(5), tmp_path, library)
    drawing.words, drawing.has_kernels = WORDS["siemens"], True
    return drawing


def verdicts_of(drawing, **wishes):
    choice = choose_series(drawing.files, SitePreferences(**wishes))
    return choice, {verdict.number: verdict for verdict in choice.verdicts}


def test_drawn_studies_of_four_vendors_are_chosen_right(tmp_path):
    studies = list(draw_studies(14, seed=11, folder=tmp_path))
    wrong = [outcome for study in studies for outcome in outcomes_of(study).values() if outcome.error]
    assert {study.vendor for study in studies} == {"siemens", "ge", "philips", "canon"}
    assert wrong == []


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"words": "topogram", "image_type": "localizer", "num": 1}, "localizer"),
        ({"words": "mips", "image_type": "mip"}, "derived"),
        ({"words": "coronal", "image_type": "mpr", "axes": CORONAL, "extent": 200}, "derived"),
        ({"words": "captures", "sop_class": SecondaryCaptureImageStorage, "num": 1}, "no CT images"),
        ({"words": "spectral_words"}, "spectral"),
        ({"words": "one_tube"}, "one spectrum"),
        ({"words": "soft", "thickness": 8.0}, "slices of 8 mm"),
        ({"words": "soft", "lost": (50, 60)}, "a gap of"),
        ({"words": "soft", "copies": 2}, "lie where another does"),
        ({"words": "soft", "extent": 90}, "covers only"),
        ({"words": "soft", "num": 12}, "only 12 slices"),
        ({"words": "soft", "field_mm": 180}, "a field of view of 180 mm"),
        ({"words": "soft", "axes": CORONAL, "extent": 250}, "not axial"),
        ({"words": "head", "body": "head"}, "another body part by its words (head)"),
        ({"words": "monitoring", "extent": 300}, "guidance"),
        ({"words": "soft", "body": "whole_body", "extent": 1200}, "far more than the chest"),
    ],
)
def test_a_series_that_is_no_chest_ct_is_refused_with_its_reason(drawing, what, reason):
    drawing.words = drawing.words | {"spectral": [["DERIVED", "PRIMARY", "AXIAL"]]}
    if what["words"] == "spectral_words":
        what = what | {"image_type": "spectral"}
    drawing.add(**({"body": "chest"} | what))
    choice, verdicts = verdicts_of(drawing)
    assert choice.chosen is None and reason in verdicts[1].reason
    with pytest.raises(NoSeriesError, match="no series is a chest CT to read"):
        _ = choice.verdict


@pytest.mark.parametrize("body", ["abdomen", "head", "heart", "pelvis"])
def test_pixels_without_whole_lungs_are_refused_where_words_say_chest(drawing, body):
    drawing.words = drawing.words | {"soft": ["Thorax {t}"]}
    drawing.add(body, "soft", extent=300)
    choice, verdicts = verdicts_of(drawing)
    assert choice.chosen is None and "lungs" in verdicts[1].reason


def test_the_best_is_refused_by_its_pixels_and_the_next_is_read(drawing):
    drawing.words = drawing.words | {"soft": ["Thorax {t} Br40"], "lung": ["Thorax {t} Bl57"]}
    drawing.add("abdomen", "soft", extent=300)
    drawing.add("chest", "lung", "lung")
    _, verdicts = verdicts_of(drawing)
    assert "lungs" in verdicts[1].reason and verdicts[2].state == CHOSEN


@pytest.mark.parametrize(
    ("wishes", "number"),
    [({}, 1), ({"kernels": ("lung", "soft", "bone")}, 2), ({"thickness_mm": 3.0, "thin_mm": 5.0}, 3)],
)
def test_a_site_may_prefer_another_kernel_or_thickness(drawing, wishes, number):
    drawing.words = drawing.words | {"soft": ["Thorax {t}"], "lung": ["Lunge {t}"]}
    drawing.add("chest", "soft", thickness=1.0)
    drawing.add("chest", "lung", "lung", thickness=1.0)
    drawing.add("chest", "soft", thickness=3.0)
    choice, verdicts = verdicts_of(drawing, **wishes)
    assert verdicts[number].state == CHOSEN
    assert [verdict.state for verdict in choice.verdicts].count(LOWER) == 2


def test_slices_of_two_studies_are_not_chosen_from(drawing):
    drawing.add("chest", "soft")
    drawing.study = "1.2.3"
    drawing.add("chest", "soft")
    with pytest.raises(NoSeriesError, match="2 studies"):
        choose_series(drawing.files)


def test_a_named_series_is_read_whatever_the_rules_say(drawing):
    drawing.add("chest", "soft", thickness=8.0)
    uid = drawing.files[0].series
    assert choose_named(drawing.files, uid).verdict.name == uid
    with pytest.raises(NoSeriesError, match="no series is called 1.2.3"):
        choose_named(drawing.files, "1.2.3")


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        ("B31f", "soft"), ("Br40f\\3", "soft"), ("I70f\\3", "lung"), ("B70s", "lung"), ("Bl57f\\2", "lung"),
        ("STANDARD", "soft"), ("LUNG", "lung"), ("BONEPLUS", "bone"), ("FC08", "soft"), ("FC51", "lung"),
        ("FC30", "bone"), ("YA", "lung"), ("B", "soft"), ("", "unknown"), ("XQ", "unknown"),
    ],
)  # fmt: skip
def test_kernels_of_four_vendors_are_known(kernel, known):
    assert kernel_of(kernel, "", vocabulary_of()) == known


@pytest.mark.parametrize(
    "description", ["PULM EMB 0.75", "Lungenembolie 1.0", "CT pulmonary angiography", "TEP pulmonar"]
)
def test_a_word_of_embolism_names_no_kernel(description):
    assert kernel_of("", description, vocabulary_of()) == "unknown"


@pytest.mark.parametrize(
    ("description", "body_part", "study", "known"),
    [
        ("Thoracic spine 2.0", "CHEST", "", ""),
        ("BWS 1.0", "", "CT Thorax", ""),
        ("Thorax/Abdomen ven", "ABDOMEN", "", "clear"),
        ("Poumon 1.25", "", "", "clear"),
        ("akciğer penceresi", "", "", "clear"),
        ("胸部", "", "", "clear"),
        ("头颅平扫", "CHEST", "", ""),
        ("Schädel", "", "CT Thorax", ""),
        ("1.25 STD", "ABDOMEN", "CT CHEST ABD", "unclear"),
        ("1.25 STD", "HEAD", "CT Head", ""),
        ("1.25 STD", "", "", "unclear"),
    ],
)
def test_words_tell_the_body_part_in_several_languages(description, body_part, study, known):
    labels = SeriesLabels(description=description, body_part=body_part, study_description=study)
    assert body_of(labels, SitePreferences())[1] == known


def test_preferences_come_from_yaml_and_unknown_ones_are_refused(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("phases: [venous]\nkernel_names: {MyKernel: lung}\nwords: {chest: [brjost*]}\n")
    preferences = load_preferences(path)
    assert preferences.vocabulary.regions_in("Brjóst 1.0") == {"chest"}
    assert kernel_of("mykernel", "", preferences.vocabulary, preferences.kernel_names) == "lung"
    for text in ("phase: [venous]", "phases: [later]", "kernel_names: {X: hard}", "words: {chest: ['*']}"):
        path.write_text(text)
        with pytest.raises(ValueError, match="site.yaml: "):
            load_preferences(path)


def test_lungs_are_seen_in_every_phantom_and_not_in_a_head(scans):
    for scan in scans:
        volume = read_ct(scan)
        cuts = np.array([lung_and_body_mm2(picture, volume.spacing_mm[1:]) for picture in volume.hu])
        places = np.arange(len(cuts)) * volume.spacing_mm[0]
        assert judge_cuts(cuts[:, 0], cuts[:, 1], places) == ""
    head = draw_body("head", 0.1, np.random.default_rng(0))
    assert lung_and_body_mm2(head, (4.0, 4.0))[0] == 0


def write_study(folder, library, series):
    """Write series of coarse slices into one folder: (description, kernel, body, image type) each."""
    folder.mkdir()
    for number, (description, kernel, body, image_type) in enumerate(series, start=1):
        for index in range(60):
            header = ct_file(folder / "new")
            header.SeriesInstanceUID, header.StudyInstanceUID = f"1.2.3.{number}", "1.2.3"
            header.SeriesNumber, header.SeriesDescription, header.ImageType = number, description, image_type
            header.ConvolutionKernel, header.SliceThickness = kernel, 5
            header.ImagePositionPatient, header.ImageOrientationPatient = [-192, -192, 5 * index], list(AXIAL)
            set_hu(header, draw_body(body, (index + 0.5) / 60, np.random.default_rng(index)))
            header.save_as(folder / f"{number}-{index:03d}.dcm")
    return folder


ORIGINAL = ["ORIGINAL", "PRIMARY", "AXIAL"]


@pytest.fixture(scope="module")
def study(library, tmp_path_factory):
    series = [
        ("Abdomen 5.0", "B31f", "abdomen", ORIGINAL),
        ("Lunge 5.0", "B70f", "chest", ORIGINAL),
        ("Thorax 5.0", "B31f", "chest", ORIGINAL),
        ("Thorax MIP", "B31f", "chest", ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]),
    ]
    return write_study(tmp_path_factory.mktemp("study") / "PATIENT^NAME", library, series)


def test_the_command_lists_every_series_with_its_reason(argus, study, tmp_path):
    code, told, said = argus("series", study)
    lines = {line.split()[1]: line for line in told.splitlines()}
    assert code == 0 and "read is the series 1.2.3.3" in said
    assert lines["1.2.3.3"].startswith("chosen") and "abdomen" in lines["1.2.3.1"]
    assert "kernel" in lines["1.2.3.2"] and "derived" in lines["1.2.3.4"]
    preferences = tmp_path / "site.yaml"
    preferences.write_text("kernels: [lung]")
    assert "read is the series 1.2.3.2" in argus("series", study, "--preferences", preferences)[2]


def test_the_command_ends_with_2_where_nothing_fits(argus, library, tmp_path):
    folder = write_study(tmp_path / "head", library, [("Kopf", "H31s", "head", ORIGINAL)])
    code, told, said = argus("series", folder)
    assert code == 2 and told.startswith("refused")
    assert "no series is a chest CT to read: 1 x another body part by its words (head)" in said


def test_a_report_is_written_of_the_chosen_series(argus, study, model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGUS_PATH_KEY", str(tmp_path / "path.key"))
    code, told, said = argus("report", study, "--model", model_dir, "--max-new-tokens", 4, "--json")
    assert code == 0 and f"{study}: read is the series 1.2.3.3 of 4" in said
    assert f'"scan": "{study}"' in told and "argus-series-" not in told + said
    assert json.loads(told)["series"] == "1.2.3.3"
    code, told, said = argus(
        "report", study, "--model", model_dir, "--max-new-tokens", 4, "--series", "1.2.3.2", "--json"
    )
    assert code == 0 and "read is the series 1.2.3.2" in said
    assert json.loads(told)["series"] == "1.2.3.2"
    code, told, _ = argus("report", study, "--model", model_dir, "--max-new-tokens", 4, "--json", "--anonymous-paths")
    assert code == 0 and "1.2.3.3" not in told


def test_a_study_without_a_chest_fails_alone_among_other_scans(argus, library, scans, model_dir, tmp_path):
    series = [("Kopf", "H31s", "head", ORIGINAL), ("Kopf", "H60s", "head", ORIGINAL)]
    folder = write_study(tmp_path / "head", library, series)
    code, told, said = argus("report", folder, scans[0], "--model", model_dir, "--max-new-tokens", 4, "--json")
    assert code == 2 and "no series is a chest CT to read: 2 x another body part" in said
    assert len(told.splitlines()) == 2 and '"error"' in told.splitlines()[0]


def test_a_damaged_file_among_the_slices_is_not_passed_over(argus, study, library, model_dir, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for path in study.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "3-059.dcm").write_bytes(b"")
    code, _, said = argus("report", folder, "--model", model_dir, "--max-new-tokens", 4)
    assert code == 2 and "may be a lost slice" in said and "argus-series-" not in said


def test_files_in_subfolders_are_one_study(study, tmp_path):
    for path in study.iterdir():
        target = tmp_path / path.name[0] / path.name[2:]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    choice = choose_series(read_study(study_paths(tmp_path)))
    assert choice.verdict.name == "1.2.3.3" and choice.verdict.num_files == 60


def test_a_folder_of_one_series_is_read_whatever_lies_below_it(argus, library, model_dir, tmp_path):
    folder = write_study(tmp_path / "own", library, [("Kopf", "H31s", "chest", ORIGINAL)])
    write_study(folder / "older", library, [("Thorax", "B31f", "chest", ORIGINAL)])
    for path in (folder / "older").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.3.1", b"1.2.9.1"))
    code, _, said = argus("report", folder, "--model", model_dir, "--max-new-tokens", 4)
    assert code == 0 and "read is the series" not in said


def test_a_blank_uid_is_shown_as_a_number(drawing):
    drawing.add("chest", "soft")
    files = [replace(file, series="Miller^John") for file in drawing.files]
    assert choose_series(files).verdict.name == "#1"
