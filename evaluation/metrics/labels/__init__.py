"""Read CT-RATE's 18 labels out of reports, and score reports by them."""

from .label_backends import LABEL_BACKENDS, read_labels
from .label_terms import CT_RATE_LABELS
from .rule_reader import LabelMention, locate_labels

__all__ = ["CT_RATE_LABELS", "LABEL_BACKENDS", "LabelMention", "locate_labels", "read_labels"]
