import dataclasses
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
from argus_processing.failures import explain

SENTENCES = ["The heart is large.", "A nodule of 4 mm.", "Unchanged since 2019."]


class Backend:
    def __init__(self, answers, name="model"):
        self.name, self.answers, self.asked = name, answers, []

    def answer(self, prompts):
        self.asked += prompts
        for index in reversed(range(len(prompts))):
            yield index, self.answers[len(self.asked) % len(self.answers)]


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
            yield from super().answer(prompts)

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


class Served:
    """A chat model at an address of this machine.

    It answers when `together` requests are under way, refuses the first of those about `busy`, and all about `refused`.
    """

    def __init__(self, together=1, busy=(), refused=()):
        self.busy, self.refused = list(busy), refused
        self.asked: list[dict] = []
        self.under_way = self.most = 0
        self.all_there, self.lock = threading.Barrier(together, timeout=30), threading.Lock()

    def answer(self, request: dict) -> tuple[int, str]:
        sentence = request["messages"][0]["content"].split("Sentence: ")[1]
        with self.lock:
            self.asked.append(request)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            busy = sentence in self.busy and not self.busy.remove(sentence)
        self.all_there.wait()
        with self.lock:
            self.under_way -= 1
        status = 503 if busy else 400 if sentence in self.refused else 200
        return status, judges.RULES[len(sentence) % len(judges.RULES)].name

    @property
    def sentences(self) -> list[str]:
        return [request["messages"][0]["content"].split("Sentence: ")[1] for request in self.asked]


@pytest.fixture
def serve():
    pytest.importorskip("openai")
    servers = []

    def start(served: Served) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                status, word = served.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": word}}
                body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                content = json.dumps(body if status == 200 else {"error": {"message": "the prompt was odd"}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Retry-After-Ms", "1")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rule_of(sentence: str) -> str:
    return judges.RULES[len(sentence) % len(judges.RULES)].name


def test_requests_are_under_way_together_and_answers_in_order(serve):
    served, sentences = Served(together=4), ["x" * length for length in range(1, 9)]
    judge = ChatJudge(OpenAIBackend("gpt-4o", serve(served), requests=4))
    assert judge.judge(sentences) == [rule_of(sentence) for sentence in sentences]
    assert served.most == 4 and sorted(served.sentences) == sentences
    assert {(request["model"], request["temperature"]) for request in served.asked} == {("gpt-4o", 0)}


def test_a_request_that_meets_a_busy_server_is_sent_again(serve):
    served = Served(busy=SENTENCES[1:2])
    assert ChatJudge(OpenAIBackend("m", serve(served), requests=1)).judge(SENTENCES) == [
        rule_of(sentence) for sentence in SENTENCES
    ]
    assert served.sentences == [SENTENCES[0], SENTENCES[1], *SENTENCES[1:]]


def test_a_refused_request_ends_in_one_line_and_keeps_what_was_answered(serve, tmp_path):
    path, address = tmp_path / "answers.sqlite", serve(served := Served(refused=SENTENCES[2:]))
    judge = CachedJudge(ChatJudge(OpenAIBackend("m", address, requests=1)), path)
    with pytest.raises(ConnectionError) as failure:
        judge.judge(SENTENCES)
    said = f"{address}: refused a request to m (400 Bad Request); the answers so far are kept"
    assert explain(failure.value).startswith(said) and "odd" not in explain(failure.value)
    served.refused = ()
    assert judge.judge(SENTENCES) == [rule_of(sentence) for sentence in SENTENCES]
    assert served.sentences == [*SENTENCES, SENTENCES[2]]


def test_an_address_where_nothing_listens_is_named(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setattr(judges, "RETRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(ConnectionError, match=rf"^{address}: no connection \(APIConnectionError\)"):
        ChatJudge(OpenAIBackend("m", address)).judge(SENTENCES)
