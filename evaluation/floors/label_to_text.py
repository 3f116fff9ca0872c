"""Write reports from a linear classifier's labels: the recipe that won a challenge of report generation."""

from collections import Counter

from ..metrics.labels import CT_RATE_LABELS
from ..metrics.labels.rule_reader import RULES
from .constant_floors import normal_report
from .floor_material import SCANS, FloorMaterial, FloorReports
from .label_sentences import learn_writer
from .linear_labels import predict_labels

_FEWEST = 10  # training scans with a label, and without it, from which it can be learned


class LabelToText:
    """Labels of CT-RATE by logistic regression on the tower's features, then the usual sentences of each label."""

    title = "label to text"
    needs = SCANS

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the sentences of each test scan's labels.

        Raises:
            ValueError: if no training scan could be read.
        """
        features = material.known_features
        known = material.labels_of(features.train_reports)
        normal = normal_report(features.train_reports, known).text
        counts, total = Counter(label for labels in known for label in labels), len(known)
        labels = [label for label in CT_RATE_LABELS if _FEWEST <= counts[label] <= total - _FEWEST]
        signature = f"{len(labels)} labels|{RULES}|{features.signature}"
        if not labels:
            return FloorReports([normal] * len(material.predictions), f"the normal report: {signature}")
        told, classifier = predict_labels(features.train, known, features.test, labels, material.seed)
        writer = learn_writer(features.train_reports, known, normal)
        signature = f"logistic regression|C={classifier.strength:g}|thresholds by F1|{signature}"
        return FloorReports([writer.write(each) for each in told], signature)
