import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from argus_processing.curation import judges
from argus_processing.curation.judges import (
    PROMPT,
    CachedJudge,
    ChatJudge,
    OpenAIBackend,
    RuleJudge,
    TransformersBackend,
)

SENTENCES = ["The heart is large.", "A nodule of 4 mm.", "Unchanged since 2019."]


class Backend:
    def __init__(self, answers, name="model"):
        self.name, self.answers, self.asked = name, answers, []

    def answer(self, prompts):
        self.asked += prompts
        return [self.answers[len(self.asked) % len(self.answers)] for _ in prompts]


def test_the_rules_judge_and_sign_with_their_version():
    judge = RuleJudge()
    assert judge.judge(SENTENCES) == [None, "measurement", "comparison"]
    assert judge.name == RuleJudge().name and judge.name.startswith("rules-")


@pytest.mark.parametrize("part", ["name", "phrases", "harmless"])
def test_the_version_of_the_rules_covers_all_that_decides(monkeypatch, part):
    before = RuleJudge().name
    first, *others = judges.RULES
    changed = dataclasses.replace(first, **{part: getattr(first, part) + "x"})
    monkeypatch.setattr(judges, "RULES", (changed, *others))
    assert RuleJudge().name != before


@pytest.mark.parametrize(
    ("answer", "rule", "unparsed"),
    [
        ("measurement", "measurement", 0),
        ("**Measurement**.", "measurement", 0),
        ("keep", None, 0),
        ("I would say so.", None, 1),
        ("", None, 1),
    ],
)
def test_an_answer_is_read_and_one_that_says_nothing_keeps_the_sentence(answer, rule, unparsed):
    judge = ChatJudge(Backend([answer]))
    assert judge.judge(SENTENCES[:1]) == [rule]
    assert judge.unparsed == unparsed
    assert judge.backend.asked == [PROMPT.format(sentence=SENTENCES[0])]


def test_a_repeated_run_asks_nothing(tmp_path):
    first, second = Backend(["comparison"]), Backend(["keep"])
    before = CachedJudge(ChatJudge(first), tmp_path / "answers.sqlite").judge([*SENTENCES, SENTENCES[0]])
    after = CachedJudge(ChatJudge(second), tmp_path / "answers.sqlite").judge([*SENTENCES, SENTENCES[0]])
    assert before == after == ["comparison"] * 4
    assert len(first.asked) == 3 and not second.asked


def test_another_model_has_answers_of_its_own(tmp_path):
    CachedJudge(ChatJudge(Backend(["comparison"])), tmp_path / "answers.sqlite").judge(SENTENCES)
    other = CachedJudge(ChatJudge(Backend(["keep"], name="other")), tmp_path / "answers.sqlite")
    assert other.judge(SENTENCES) == [None] * 3


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    class Failing(Backend):
        def answer(self, prompts):
            if self.asked:
                raise ConnectionError("gone")
            return super().answer(prompts)

    path = tmp_path / "answers.sqlite"
    with pytest.raises(ConnectionError):
        CachedJudge(ChatJudge(Failing(["keep"])), path, chunk=1).judge(SENTENCES)
    backend = Backend(["keep"])
    CachedJudge(ChatJudge(backend), path, chunk=1).judge(SENTENCES)
    assert len(backend.asked) == 2


def test_a_chat_model_of_transformers_answers(tmp_path):
    words = {word: number for number, word in enumerate(["<s>", "<unk>", "keep", "measurement", "comparison"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<s>", unk_token="<unk>")
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    config = LlamaConfig(
        vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, eos_token_id=0
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    judge = ChatJudge(TransformersBackend(str(tmp_path)))
    first = judge.judge(SENTENCES)
    assert len(first) == 3 and first == judge.judge(SENTENCES)


def test_a_model_behind_an_address_is_asked_greedily(monkeypatch):
    pytest.importorskip("openai")
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            message = {"role": "assistant", "content": "measurement"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        judge = ChatJudge(OpenAIBackend("m", f"http://127.0.0.1:{server.server_port}/v1"))
        assert judge.judge(SENTENCES[:2]) == ["measurement"] * 2
    finally:
        server.shutdown()
        server.server_close()
    assert [request["temperature"] for request in asked] == [0, 0]
    assert SENTENCES[0] in asked[0]["messages"][0]["content"]
