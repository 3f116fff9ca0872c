import pytest

from argus_processing.report_text import clean_report, count_tokens, split_sentences, words_of


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ('"Heart is normal.""No effusion."', "Heart is normal. No effusion."),
        ("FINDINGS:  The heart   is large .\r\n\r\nIMPRESSION: Cardiomegaly", "The heart is large. Cardiomegaly"),
        ("• A nodule\n• An effusion", "A nodule. An effusion"),
        ("1. A nodule\n2. An effusion", "A nodule. An effusion"),
        ("Findings of the chest CT: Clear lungs.", "Clear lungs."),
        ("The impression of a nodule: none.", "The impression of a nodule: none."),
        ("A nodule in the\nleft lung.", "A nodule in the left lung."),
        ("", ""),
        (' "" ', ""),
    ],
)
def test_clean_report(raw, clean):
    assert clean_report(raw) == clean
    assert clean_report(clean) == clean


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A nodule of 4.5 mm. It is solid.", 2),
        ("Compared with 03.02.2020. No change.", 2),
        ("Reported by Dr. Smith. Normal.", 2),
        ("A nodule is seen (Fig. 3). Clear otherwise.", 2),
        ("Nodule; effusion; clear bones.", 3),
        ("Is it a cyst? Possibly!", 2),
        ("Correlation with clinic and lab. findings is recommended. Clear lungs.", 2),
        ("Correlate with clinic and lab. Clear lungs.", 2),
        ("Pneumothorax? No. Clear lungs.", 3),
        ("The nodule (series no. 3, fig. 12) is solid.", 1),
        ("A nodule of approx. 4 mm, max. 5 mm. It is solid.", 2),
        ("Edema vs. infection.", 1),
        ("Known small cell lung ca. Nodules in both lungs.", 2),
        ("Dated ca. 2015. Clear lungs.", 2),
        ("Images after i.v. contrast, e.g. Iohexol. Clear lungs.", 2),
        ("Seen by Prof. A. B. Smith. Normal.", 2),
        ("Dissection of type B. The aorta is wide.", 2),
        ("Chronic hepatitis B. The liver is small.", 2),
        ("Height loss of the T12. vertebra. Clear lungs.", 2),
        ("Fractures of the left 5-6. and 7-9. ribs. Clear lungs.", 2),
        ("Nodules in segment 6. The liver is normal.", 2),
        ("Dated 3.5.2019. the effusion is gone.", 2),
        ("No full stop at the end", 1),
        ("", 0),
    ],
)
def test_sentences_are_cut_and_join_to_the_text_again(text, count):
    sentences = split_sentences(text)
    assert len(sentences) == count
    assert " ".join(sentences) == text


def test_tokens_are_words_numbers_and_marks():
    assert count_tokens("A 4.5-mm nodule, left.") == 8
    assert count_tokens("") == 0
    assert words_of("A 4.5-mm Ground-glass nodule.") == ["a", "mm", "ground-glass", "nodule"]
