import hashlib

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from argus_evaluation.metrics.clinical.clinical_weights import ClinicalOptions
from argus_evaluation.metrics.clinical.green_metric import GreenModel, green_metrics, parse_answer
from argus_evaluation.metrics.clinical.green_prompt import CONVERSATION, PROMPT

pytestmark = pytest.mark.usefixtures("empty_hub_cache")
ZERO = """[Clinically Insignificant Errors]:
(a) False report of a finding in the candidate: 4. Ignored; Ignored; Ignored; Ignored.
"""
# In the form the model answers in, as in the paper and the package's recorded answers.
ALL_KINDS = f"""[Explanation]:
The candidate misses the nodule. It speaks of 2 effusions.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. Effusion on the right.
(b) Missing a finding present in the reference: 2. Nodule of 5 mm; Emphysema.
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 1. Heart: mildly 1. enlarged.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: 1. Growth since 2019.

{ZERO}
[Matched Findings]:
3. No pneumothorax; Clear airways; Normal aorta.</s>"""


def answer_of(significant, matched):
    return f"[Clinically Significant Errors]:\n{significant}\n\n{ZERO}\n[Matched Findings]:\n{matched}"


NO_ERRORS = answer_of("None.", "2. One; Two.")
SOME_KINDS = answer_of("(f) Omitting: 1. x\n(b) Missing: 12. y", "13. z")
BY_NUMBER = answer_of("(2) Missing: 1. x\n(4) Severity: 2. y", "1. z")
NOTHING_MATCHED = answer_of("(b) Missing: 1. x", "No matched findings.")
ZERO_MATCHED = answer_of("(b) Missing: 0.", "0.")
REPEATED = f"{ALL_KINDS}\n<|assistant|>\n{NO_ERRORS}"


@pytest.mark.parametrize(
    ("answer", "matched", "errors", "score"),
    [
        (ALL_KINDS, 3, (1, 2, 0, 1, 0, 1), 3 / 8),
        (NO_ERRORS, 2, (0, 0, 0, 0, 0, 0), 1),
        (SOME_KINDS, 13, (0, 12, 0, 0, 0, 1), 13 / 26),
        (BY_NUMBER, 1, (0, 1, 0, 2, 0, 0), 1 / 4),
        (NOTHING_MATCHED, 0, (0, 1, 0, 0, 0, 0), 0),
        (ZERO_MATCHED, 0, (0, 0, 0, 0, 0, 0), 0),
        (REPEATED, 2, (0, 0, 0, 0, 0, 0), 1),
    ],
)
def test_an_answer_in_the_published_form_is_counted(answer, matched, errors, score):
    counts = parse_answer(answer)
    assert (counts.matched, counts.errors, counts.parsed) == (matched, errors, True)
    assert counts.score == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("", 0),
        ("The reports agree.", 0),
        ("[Clinically Significant Errors]:\n(a) False report: 1. x", 0),  # cut before the findings
        ("[Clinically Significant Errors]:\n(a) False: 1. x\n\n[Matched Findings]:\nMany of them.", 0),
        ("[Clinically Significant Errors]:\n(a) False: some. x\n\n[Matched Findings]:\n2. y", 1),
        ("[Clinically Significant Errors]:\nThere are many.\n\n[Matched Findings]:\n2. y", 1),
        ("[Matched Findings]:\n2. y", 1),
    ],
)
def test_what_cannot_be_parsed_counts_as_zero_as_published_and_is_marked(answer, score):
    counts = parse_answer(answer)
    assert not counts.parsed
    assert counts.score == score


def test_the_prompt_is_the_published_one_to_the_letter():
    filled = PROMPT.format(reference="{text1}", prediction="{text2}")
    digest = hashlib.sha256(filled.encode()).hexdigest()
    assert digest == "85a3b95554c1cf431bfa05db87d227116525f0586ed9c5e56232d44a5b2555ef"
    assert CONVERSATION.format(prompt="P", end="</s>") == "<|user|>\nP</s>\n<|assistant|>\n</s>\n<|assistant|>\n"


LETTERS = [chr(code) for code in range(32, 127)]


def save_model(folder, positions=2048):
    """A randomly initialised Llama with a tokenizer of single characters."""
    vocabulary = {token: place for place, token in enumerate(["<unk>", "<s>", "</s>", "\n", *LETTERS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"</s>|[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=positions, bos_token_id=1, eos_token_id=2, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "GREEN-radllama2-7b")


@pytest.fixture(scope="module")
def model(folder):
    return GreenModel(folder, batch_size=2, max_new_tokens=6)


def test_the_conversation_begins_and_ends_as_published(model):
    ids = model.encode("pred", "ref")
    assert ids[0] == 1 and ids[-1] == 2
    text = model._tokenizer.decode(ids[1:-1])
    assert text == CONVERSATION.format(prompt=PROMPT.format(reference="ref", prediction="pred"), end="</s>")


def test_a_batch_gives_the_answers_of_single_pairs(folder):
    model = GreenModel(folder, batch_size=3, max_new_tokens=6)
    model._model.float()
    pairs = [("a nodule", "no nodule"), ("x", ""), ("an effusion on the left side", "clear lungs")]
    alone = [model.answer([pair])[0] for pair in pairs]
    assert model.answer(pairs) == alone
    assert all(len(answer["text"]) <= 6 and not answer["cut"] for answer in alone)


def test_reports_that_do_not_fit_are_cut_and_said_so(model):
    room = model._room
    short, long = "s" * 10, "l" * 3000
    assert model._fit(short, "r" * (room - 10)) == (short, "r" * (room - 10), False)
    assert model._fit(short, long) == (short, long[: room - 10], True)
    assert model._fit(long, short) == (long[: room - 10], short, True)
    assert model._fit(long, long) == (long[: room // 2], long[: room // 2], True)
    assert [answer["cut"] for answer in model.answer([(long, long), (short, short)])] == [True, False]


def test_a_model_without_room_for_prompt_and_answer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not the GREEN model"):
        GreenModel(save_model(tmp_path / "small", positions=512), batch_size=1)


class Recorded:
    """Stands for the model: gives answers that were written down."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def answer(self, pairs):
        self.asked += pairs
        return [{"text": self.answers[pair[0]], "cut": False} for pair in pairs]


def metric_with(monkeypatch, folder, recorded, answers, **options):
    monkeypatch.setattr("argus_evaluation.metrics.clinical.green_metric.GreenModel", lambda *_: recorded)
    return green_metrics(ClinicalOptions(folder=folder.parent, answers=answers, **options))


def test_recorded_answers_score_and_are_asked_for_once(folder, tmp_path, monkeypatch):
    recorded = Recorded({"one": ALL_KINDS, "two": NO_ERRORS, "": "I cannot say."})
    predictions, references = ["one", "two", "", "one"], ["r"] * 4
    for _ in range(2):
        metrics = metric_with(monkeypatch, folder, recorded, tmp_path / "answers.sqlite")
        scores = metrics["GREEN"].score(predictions, references)
        assert scores.per_report.tolist() == [37.5, 100, 0, 37.5]
        assert scores.value == pytest.approx(175 / 4)
        assert scores.counts == {"unparsed": 1, "cut": 0}
    assert recorded.asked == [["one", "r"], ["two", "r"], ["", "r"]]


def test_only_the_compatible_form_cuts_at_300_words_and_keeps_apart(folder, tmp_path, monkeypatch):
    long = " ".join(["word"] * 400)
    cut = " ".join(["word"] * 300)
    recorded = Recorded({long: ALL_KINDS, cut: NO_ERRORS})
    answers = tmp_path / "answers.sqlite"
    full = metric_with(monkeypatch, folder, recorded, answers)["GREEN"]
    compatible = metric_with(monkeypatch, folder, recorded, answers, green_compat=True)["GREEN"]
    assert full.score([long], [long]).value == 37.5
    assert compatible.score([long], [long]).value == 100
    assert recorded.asked == [[long, long], [cut, cut]]
    assert "|words:all|" in full.signature and "|words:300|" in compatible.signature


ODD = [
    "",
    "  \n",
    "\x00\x07",
    "漢字 отчёт تقرير",
    "\ud800 nodule",
    "nodule\r\n\teffusion {0} {x}.",
    "nodule effusion " * 2500,
]


def test_odd_reports_have_a_value(folder, tmp_path, monkeypatch):
    name = "argus_evaluation.metrics.clinical.green_metric.GreenModel"
    monkeypatch.setattr(name, lambda path, size: GreenModel(path, size, 4))
    metric = green_metrics(ClinicalOptions(folder=folder.parent, answers=tmp_path / "answers.sqlite"))["GREEN"]
    scores = metric.score(ODD, ODD[::-1])
    assert scores.per_report.tolist() == [0] * len(ODD)
    assert scores.counts == {"unparsed": len(ODD), "cut": 2}


def test_missing_weights_say_where_to_put_them():
    reason = green_metrics(ClinicalOptions())["GREEN"].missing()
    assert "StanfordAIMI/GREEN-radllama2-7b into FOLDER/GREEN-radllama2-7b" in reason
    assert "--clinical-models FOLDER" in reason and "--clinical-download" in reason
