import pytest

from argus_processing.storage.answer_store import answer_as_ready, answer_once, stored_answers

QUESTIONS = ["a", "b", "a", "c"]


class Model:
    def __init__(self, fails_on=None):
        self.asked, self.fails_on = [], fails_on

    def answer(self, questions):
        if self.fails_on in questions:
            raise RuntimeError("out of memory")
        self.asked.append(list(questions))
        return [None if question == "b" else question.upper() for question in questions]


def test_answers_come_in_order_and_each_question_is_asked_once(tmp_path):
    model = Model()
    for _ in range(2):
        assert answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, model.answer, chunk=2) == ["A", None, "A", "C"]
    assert model.asked == [["a", "b"], ["c"]]


def test_another_who_is_asked_has_answers_of_its_own(tmp_path):
    first, second = Model(), Model()
    answer_once(tmp_path / "a.sqlite", "model|v1", QUESTIONS, first.answer)
    answer_once(tmp_path / "a.sqlite", "model|v2", QUESTIONS, second.answer)
    assert first.asked == second.asked == [["a", "b", "c"]]


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    with pytest.raises(RuntimeError):
        answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, Model(fails_on="c").answer, chunk=2)
    model = Model()
    assert answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, model.answer) == ["A", None, "A", "C"]
    assert model.asked == [["c"]]


def test_too_few_answers_are_refused_and_not_kept(tmp_path):
    with pytest.raises(ValueError):
        answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, lambda questions: ["A"])
    model = Model()
    answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, model.answer)
    assert model.asked == [["a", "b", "c"]]


def test_every_chunk_is_tracked(tmp_path):
    tracked = []

    def track(chunks):
        tracked.append(len(chunks))
        return chunks

    answer_once(tmp_path / "a.sqlite", "model", QUESTIONS, Model().answer, chunk=2, track=track)
    assert tracked == [2]


def test_a_file_that_keeps_no_answers_is_named(tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_text("this is not a database, and long enough to be seen as none" * 10)
    with pytest.raises(ValueError, match=r"a\.sqlite: cannot keep answers there"):
        answer_once(path, "model", QUESTIONS, Model().answer)
    with pytest.raises(ValueError, match="cannot keep answers there"):
        answer_once(tmp_path / "nowhere" / "a.sqlite", "model", QUESTIONS, Model().answer)


def test_stored_answers_are_those_of_the_last_answerer_of_a_name(tmp_path):
    path = tmp_path / "answers.sqlite"
    for asked, answer in (("green|1", "old"), ("green|2", "new"), ("rate|1", "other")):
        answer_once(path, asked, ["a", "b"], lambda part, answer=answer: [f"{answer} {text}" for text in part])
    assert stored_answers(path, "green|") == {"a": "new a", "b": "new b"}
    with pytest.raises(ValueError, match="holds no answer of radgraph"):
        stored_answers(path, "radgraph|")
    with pytest.raises(FileNotFoundError, match="nowhere.sqlite: not there"):
        stored_answers(tmp_path / "nowhere.sqlite", "green|")
    (tmp_path / "damaged.sqlite").write_text("not a store" * 100)
    with pytest.raises(ValueError, match="damaged.sqlite: cannot keep answers"):
        stored_answers(tmp_path / "damaged.sqlite", "green|")


def test_a_question_that_is_left_out_is_asked_again_the_next_time(tmp_path):
    asked = []

    def answer(part):
        asked.append(list(part))
        return [(0, part[0].upper())]

    for expected in (["A", None, "A", None], ["A", "B", "A", None]):
        assert answer_as_ready(tmp_path / "a.sqlite", "model", QUESTIONS, answer) == expected
    assert asked == [["a", "b", "c"], ["b", "c"]]
