from argus_training.assembly.language import impression_messages, keywords_of, language_messages
from argus_training.assembly.report_tokenizer import SPECIAL_TOKENS, train_tokenizer

FINDINGS = [
    {"label": "Lung nodule", "side": "right", "place": "upper lobe"},
    {"label": "Emphysema", "side": "bilateral", "place": None},
    {"label": "Cardiomegaly", "side": None, "place": None},
]
KEYWORDS = {"RightLungNodule", "UpperLobe", "BilateralEmphysema", "Cardiomegaly"}


def test_keywords_name_every_finding_in_an_order_that_only_the_id_decides():
    assert set(keywords_of("a", FINDINGS).split()) == KEYWORDS
    assert keywords_of("a", FINDINGS) == keywords_of("a", FINDINGS)
    assert len({keywords_of(str(seed), FINDINGS) for seed in range(30)}) == 6  # all orders come
    assert keywords_of("a", []) == "Normal"


def test_the_prompt_holds_the_keywords_and_the_completion_only_the_report():
    row = {"scan_id": "a", "report": "The heart is enlarged.", "findings": FINDINGS[2:]}
    conversation = language_messages(row)
    assert conversation["prompt"][0]["content"].startswith("Cardiomegaly\n")
    assert conversation["completion"] == [{"role": "assistant", "content": "The heart is enlarged."}]


def test_the_impression_stands_alone_and_is_asked_for():
    row = {
        "scan_id": "a",
        "report": "CT: The heart is enlarged.\nImpression: Enlarged heart.",
        "findings": FINDINGS[2:],
    }
    conversation = impression_messages(row)
    assert conversation["prompt"][0]["content"] == "Cardiomegaly\nGive the impression only."
    assert conversation["completion"] == [{"role": "assistant", "content": "Enlarged heart."}]


def test_tokenizer_is_deterministic_round_trips_and_keeps_the_marks_whole():
    texts = ["The heart is enlarged.", "No lung nodule is seen."] * 3
    one, two = (train_tokenizer(texts, vocab_size=300) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
    odd = "Ünïcode\n\ttoo: 3 mm."
    assert one.decode(one.encode(odd, add_special_tokens=False)) == odd
    assert all(len(one.encode(mark, add_special_tokens=False)) == 1 for mark in SPECIAL_TOKENS)
