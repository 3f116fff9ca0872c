import re
from pathlib import Path

import pytest
import yaml
from measure_rules import HALVES, measure, read_sentences

from argus_processing.curation.sentence_rules import NAMES, RULES, VOCABULARY, judge_sentence, read_rules

LABELLED = Path(__file__).parent / "labelled_sentences.csv"


@pytest.mark.parametrize("half", HALVES)
def test_every_rule_is_precise_and_complete_on_either_half(half):
    results = measure(read_sentences(LABELLED))[half]
    assert set(results) == {rule.name for rule in RULES}
    for name, row in results.items():
        assert row["support"] >= 20
        assert min(row["precision"], row["recall"]) >= 0.95, name


def test_the_labelled_set_is_large_and_no_sentence_is_in_both_halves():
    rows = read_sentences(LABELLED)
    sentences = [row["sentence"].lower() for row in rows]
    assert len(set(sentences)) == len(sentences) >= 200
    assert sum(row["rule"] == "keep" for row in rows) >= 100


def test_the_first_rule_that_fits_is_named_with_what_it_found():
    assert judge_sentence("The nodule measures 4 mm and is stable.") == ("measurement", "measures 4")
    assert judge_sentence("The heart is enlarged.") is None
    assert judge_sentence("") is None


def _vocabulary(folder, words, topic, harmless="nothing at all;"):
    (folder / "words.yaml").write_text(words, encoding="utf-8")
    for name in NAMES:
        text = f"reason: why\ntopic: >-\n  {topic}\nharmless: >-\n  {harmless}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_rules(folder)[0].pattern, read_rules(folder)[0].exempt


@pytest.mark.parametrize(
    ("phrase", "found", "not_found"),
    [
        ("cough*;", "he coughs", "hiccoughs"),
        ("d dimer;", "d-dimer", "d or dimer"),
        ("since ... ct;", "since his last ct", "since the old scan was an mri and not a ct"),
        ("{earlier} scan;", "the prior scan", "the scan"),
        ("(red|white) cells?;", "white cell", "blue cells"),
        ("fe(ver|brile);", "febrile", "fe"),
        ("(show|find)* it;", "showing it", "ing it"),
    ],
)
def test_the_notation_of_the_vocabulary(tmp_path, phrase, found, not_found):
    pattern, _ = _vocabulary(tmp_path, "earlier: last; prior;\n", phrase)
    assert pattern.search(found) and not pattern.search(not_found)


def test_a_harmless_phrase_hides_only_itself():
    assert judge_sentence("Persistent left superior vena cava.") is None
    assert judge_sentence("Persistent left superior vena cava, unchanged.") == ("comparison", "unchanged")


@pytest.mark.parametrize(
    "told",
    [
        "AML in follow-up.",
        "Follow-up gastric ca.",
        "On follow-up, ovarian Ca, ascites in the pelvis.",
        "Case with mitral regurgitation.",
        "In the patient operated for an ovarian tumor, the uterus was not observed.",
        "Pericardial effusion in a case with systemic lupus.",
        "The left kidney was not observed, nephrectomy due to renal cell carcinoma.",
        "The lesions were attributed to the patient's known disease.",
        "In the case, which was learned to have lymphoma, the spleen is large.",
        "In the case with asbestosis diagnosis, comparison with old examinations is recommended.",
        "Pulmonary fibrosis on follow-up, reticular densities in both bases.",
        "In the cranial MRI dated June 2021, metastases are observed in the cerebellum.",
        "The lesion in the right adrenal was evaluated on MRI as adenoma.",
        "Pancreas ca. Stent in the common bile duct.",
    ],
)
def test_background_goes_in_any_wording(told):
    assert judge_sentence(told)[0] == "not_in_image"


@pytest.mark.parametrize(
    "seen",
    [
        "Appearance compatible with lymphoma.",
        "Lung ca?",
        "Findings compatible with mitral valve replacement.",
        "The gallbladder was not observed (operated).",
        "In a patient with mediastinal lymph nodes, sarcoidosis should be considered.",
        "If the patient has a known malignancy, metastasis should be considered.",
        "Heart sizes have increased.",
        "One or two examinations a year are recommended.",
        "Evaluation together with previous examinations is recommended.",
        "Occupation of the alveolar space, gastric distension, infection to rule out.",
        "Study of the abdomen without findings.",
        "2. No pulmonary embolism.",
        "Comparative evaluation will be appropriate for the consolidation in the left lower lobe.",
        "Clinical lab findings in terms of acute pancreatitis.",
        "It is recommended to evaluate the lesion in the liver on MRI.",
        "Emphysema is, however, a pathological diagnosis.",
        "A similar lesion is also present on the right.",
        "The patient could not remain still during the scan.",
        "No increase in pericardial effusion-thickness was detected.",
        "A few millimeter-sized nodules are observed in both lungs.",
        "There is a reduction of 50% in the height of the T12 vertebra.",
        "Vessels cannot be judged in the patient who was not given contrast.",
        "No finding suggesting Covid-19 pneumonia was detected.",
        "In the sections taken in the coronal plane the fracture line is seen.",
        "Small emboli lie below the resolution limits of CT.",
        "Other than that, air images beside the catheter.",
        "The tumour surrounds the aorta 360 degrees.",
    ],
)
def test_what_explains_the_image_advice_and_false_friends_stay(seen):
    assert judge_sentence(seen) is None


@pytest.mark.parametrize(
    "compared",
    [
        "It was learned that the lesion had grown compared to the previous CT.",
        "There is a reduction of 30% in the long axis of the mass.",
        "Compared with the previous MRI, the vertebral lesion is stable.",
        "No significant change was found in the nodules; follow-up is recommended.",
    ],
)
def test_a_change_is_a_comparison_whoever_told_it_and_whatever_is_advised(compared):
    assert judge_sentence(compared)[0] == "comparison"


def test_certain_phrases_are_found_beside_a_cue_whatever_is_harmless(tmp_path):
    for name in (*NAMES, "words"):
        (tmp_path / f"{name}.yaml").write_text(
            "reason: why\ntopic: tumour;\nharmless: old .*;\ncue: who;\ncertain: scar;\n", encoding="utf-8"
        )
    rule = read_rules(tmp_path)[0]
    assert rule.find("old tumour") is None and rule.find("tumour") == "tumour"
    assert rule.find("old scar") is None and rule.find("who has an old scar") == "scar"


def test_every_phrase_of_the_vocabulary_is_whole():
    # A ";" inside brackets would cut a phrase in two, and both halves would mean something else.
    for file in VOCABULARY.glob("*.yaml"):
        for topic, text in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            for phrase in text.split(";") if topic != "reason" else ():
                plain = re.sub(r"\[[^]]*\]", "", re.sub(r"\\.", "", phrase))
                assert plain.count("(") == plain.count(")") and "[" not in plain and "]" not in plain, (
                    file.name,
                    phrase,
                )


def test_nothing_is_compiled_before_a_sentence_is_judged():
    assert not {"pattern", "exempt", "sure", "hint"} & set(vars(read_rules()[0]))
