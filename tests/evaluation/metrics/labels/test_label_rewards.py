import pytest

from argus_evaluation.metrics.labels.label_rewards import crg_reward, label_f1_reward

TRUE = ["A nodule in the left lung and emphysema.", "The lungs are clear."]


@pytest.mark.parametrize("reward", [label_f1_reward, crg_reward])
def test_a_report_with_the_same_labels_gets_one(reward):
    assert reward(prompts=["", ""], completions=TRUE, report=TRUE, trainer_state=None) == [1, 1]


def test_conversations_are_rewarded_as_their_text():
    parts = [{"type": "text", "text": "Emphysema."}]
    talks = [[{"role": "assistant", "content": "Emphysema."}], [{"role": "assistant", "content": parts}]]
    assert label_f1_reward(talks, TRUE) == label_f1_reward(["Emphysema."] * 2, TRUE) == [pytest.approx(2 / 3), 0]


def test_crg_of_one_report_weighs_a_hit_by_its_rarity():
    # T = 18, A = 2: a hit weighs 4; s = 4 - 4 = 0; S_max = 8; CRG = 8 / 16. Nothing to find, one invented: 9 / 10.
    assert crg_reward(["Emphysema."] * 2, TRUE) == pytest.approx([0.5, 0.9])
