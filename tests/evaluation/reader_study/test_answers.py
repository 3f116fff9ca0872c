import os
import threading

import pytest

from argus_evaluation.reader_study.answers import Answer, AnswerFile, StaleAnswerError, read_answers


def answer(score: int | None = None, comment: str | None = None, system: str = "A1", reader: str = "ab") -> Answer:
    return Answer(reader, "phantom", "s1", system, score, comment)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


def test_the_last_answer_counts_and_every_click_is_kept(path):
    file = AnswerFile(path)
    for score in (2, 5, 4):
        file.add(answer(score))
    file.add(answer(comment="naïve\nline\u2028end"))
    file.close()
    again = AnswerFile(path)
    assert again.scores == {("ab", "phantom", "s1", "A1"): 4}
    assert list(again.comments.values()) == ["naïve\nline\u2028end"]
    assert [line.score for line in read_answers(path)] == [2, 5, 4, None]
    again.close()


def test_a_half_written_line_is_cut_off_and_writing_goes_on(path):
    file = AnswerFile(path)
    file.add(answer(3))
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    again = AnswerFile(path)
    again.add(answer(5, system="B1"))
    again.close()
    assert [(line.system, line.score) for line in read_answers(path)] == [("A1", 3), ("B1", 5)]


def test_a_broken_whole_line_is_never_passed_over(path):
    path.write_text('{"reader": "ab"}\n')
    with pytest.raises(ValueError, match="line 1 is not an answer"):
        AnswerFile(path)


def test_an_answer_is_on_the_disk_before_it_is_confirmed(path, monkeypatch):
    synced = []
    file = AnswerFile(path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.read_bytes()))
    file.add(answer(3))
    assert len(synced) == 1 and synced[0].endswith(b"\n")
    file.close()


def test_a_failing_disk_leaves_no_half_answer_and_confirms_nothing(path, monkeypatch):
    file = AnswerFile(path)
    file.add(answer(3))

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            file.add(answer(1))
    assert file.scores == {("ab", "phantom", "s1", "A1"): 3}
    assert [line.score for line in read_answers(path)] == [3]
    file.add(answer(2))
    assert [line.score for line in read_answers(path)] == [3, 2]
    file.close()


def test_many_readers_at_once_lose_nothing(path):
    file = AnswerFile(path)

    def read(reader: str) -> None:
        for number in range(50):
            file.add(answer(1 + number % 5, system=f"system {number}", reader=reader))

    threads = [threading.Thread(target=read, args=(f"reader {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert len(read_answers(path)) == len({line.key for line in read_answers(path)}) == 300


def test_two_servers_never_share_a_folder(path):
    file = AnswerFile(path)
    with pytest.raises(ValueError, match="another reader study is running"):
        AnswerFile(path)
    file.close()
    AnswerFile(path).close()


@pytest.mark.parametrize(
    ("score", "comment"), [(0, None), (6, None), (True, None), (2.0, None), (None, None), (3, "x")]
)
def test_what_is_no_answer_is_refused(score, comment):
    with pytest.raises(ValueError, match="score"):
        answer(score, comment)


def test_versions_count_and_outlive_the_server(path):
    file = AnswerFile(path)
    assert [file.add(answer(3), 0), file.add(answer(4), 1), file.add(answer(comment="x"), 0)] == [1, 2, 1]
    assert file.add(answer(4), 1) == 2  # sent twice
    file.close()
    again = AnswerFile(path)
    assert again.versions(answer(3).key) == {"score": 2, "comment": 1}
    with pytest.raises(StaleAnswerError):
        again.add(answer(5), 1)
    again.close()
    assert [line.score for line in read_answers(path)] == [3, 4, None]


def test_the_file_is_its_owners_alone_and_a_regular_one(path):
    path.write_bytes(b"")
    path.chmod(0o644)
    AnswerFile(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="no regular file"):
        AnswerFile(path)
