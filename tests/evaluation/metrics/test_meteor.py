import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.meteor.meteor import Meteor

from argus_evaluation.metrics import meteor as meteor_module
from argus_evaluation.metrics.meteor import MAX_WORDS, meteor, missing_meteor, score_statistics
from argus_evaluation.metrics.report_words import split_words

EXAMPLE = json.loads((Path(__file__).parent / "coco_caption_example.json").read_text())["captions"]
# What METEOR 1.5 answered to SCORE for: nothing against two words, "a b c" in part, "3.5 mm nodule" against "nodules".
RECORDED = """
0 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
3 3 0 0 2 2 0 0 1 1 0 0 0 0 0 0 0 0 0 0 1 3 3
"""


def test_statistics_recorded_from_the_program_give_the_scores_it_gave():
    rows = np.array([line.split() for line in RECORDED.strip().splitlines()], dtype=float)
    assert score_statistics(meteor_module._without_whole_chunks(rows)) == pytest.approx([0.0, 86.66666666666667])


def test_text_matched_in_two_pieces_pays_for_it():
    row = np.zeros((1, 23))
    row[0, [0, 1, 4, 5, 21, 22]] = 8  # eight content words, all matched exactly
    row[0, 20] = 2
    assert score_statistics(row) == pytest.approx([100 * (1 - 0.6 * (2 / 8) ** 0.2)])


def test_it_says_whether_java_or_the_program_is_missing(monkeypatch):
    assert "needs Java" in missing_meteor()
    monkeypatch.setattr(meteor_module, "_find_java", lambda: "/usr/bin/java")
    assert missing_meteor() is None
    monkeypatch.setattr(meteor_module, "_find_jar", lambda: None)
    assert ".[meteor]" in missing_meteor()


@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR's program runs on Java, which is not installed")
def test_scores_equal_pycocoevalcaps_and_odd_reports_have_one():
    draw = random.Random(1)
    words = "no mild pleural effusions nodule nodular of the in left right lobe lung is are seen enlarged heart".split()
    predictions = [row["candidate"] for row in EXAMPLE] + [" ".join(draw.choices(words, k=30)) for _ in range(20)]
    references = [row["references"][0] for row in EXAMPLE] + [" ".join(draw.choices(words, k=40)) for _ in range(20)]
    predictions += ["", "a b", "", "|||\n\x00", "肺结节 3 mm", references[0], "\ud800 a"]
    references += ["a b", "", "", "a ||| b\x85c", "肺结节", references[0], "a"]
    true, said = ({i: [" ".join(split_words(text))] for i, text in enumerate(t)} for t in (references, predictions))
    expected, per_report = Meteor().compute_score(true, said)
    scores = meteor([*predictions], [*references])
    assert scores.value / 100 == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(scores.per_report / 100, per_report, atol=1e-9)
    assert scores.counts == {"cut": 0}


def test_a_text_over_the_limit_is_cut_and_counted(monkeypatch):
    sent = {}

    def answer(command, input, **_):
        sent["words"] = len(input.split()) - len("SCORE ||| |||".split())
        return meteor_module.subprocess.CompletedProcess(command, 0, b" ".join([b"0.0"] * 23) + b"\n", b"")

    monkeypatch.setattr(meteor_module.subprocess, "run", answer)
    assert meteor(["word " * 5000], ["a"]).counts == {"cut": 1}
    assert sent["words"] == MAX_WORDS + 1


def test_pairs_divided_among_processes_keep_their_order(monkeypatch):
    sizes = []

    def answer(command, input, **_):
        lines = input.decode().splitlines()
        sizes.append(len(lines))
        rows = [" ".join([str(len(line.split()))] + ["0"] * 22) for line in lines]
        return meteor_module.subprocess.CompletedProcess(command, 0, "\n".join(rows).encode(), b"")

    monkeypatch.setattr(meteor_module.subprocess, "run", answer)
    monkeypatch.setattr(meteor_module.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(meteor_module, "PAIRS_PER_PROCESS", 2)
    lines = [f"SCORE ||| {'a ' * number}||| b\n" for number in range(7)]
    assert meteor_module._statistics_of(lines)[:, 0].tolist() == [4 + number for number in range(7)]
    assert sorted(sizes) == [2, 2, 3]


def test_a_program_that_fails_is_told_with_its_reason(monkeypatch):
    failed = meteor_module.subprocess.CompletedProcess([], 1, b"", b"Error: out of memory\n")
    monkeypatch.setattr(meteor_module.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(OSError, match="out of memory"):
        meteor(["a"], ["a"])
