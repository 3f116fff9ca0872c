"""Give rewards of reports by their labels, in the form of TRL's reward functions: `GRPOTrainer(reward_funcs=[...])`."""

from collections.abc import Sequence
from typing import Any

from .label_backends import RuleReader
from .label_metrics import score_reports
from .label_scores import CRG, SCAN_F1

Message = dict[str, Any]


def label_f1_reward(completions: Sequence[str | Sequence[Message]], report: Sequence[str], **_: Any) -> list[float]:
    """Return the F1 of each written report's labels; 1 if neither it nor the true report states one.

    Args:
        completions: written reports, as texts or as conversations.
        report: the true reports, the data set's column of this name.
        **_: what the trainer hands over besides.
    """
    return _rewards(SCAN_F1, completions, report)


def crg_reward(completions: Sequence[str | Sequence[Message]], report: Sequence[str], **_: Any) -> list[float]:
    """Return the clinical relevance gain of each written report alone; arguments as of `label_f1_reward`."""
    return _rewards(CRG, completions, report)


def _rewards(name: str, completions: Sequence[str | Sequence[Message]], reports: Sequence[str]) -> list[float]:
    texts = [_text_of(completion) for completion in completions]
    return score_reports(texts, reports, RuleReader())[name].per_report.tolist()


def _text_of(completion: str | Sequence[Message]) -> str:
    """Return a written report's text; the content of a message is a text, or parts of which some are texts."""
    if isinstance(completion, str):
        return completion
    contents = [message["content"] for message in completion if message.get("role") == "assistant"]
    return " ".join(
        content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
        for content in contents
    )
