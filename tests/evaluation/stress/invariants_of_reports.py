"""The invariants of changes on a file of real reports, which stay outside the repository.

ARGUS_REPORTS=FILE pytest tests/evaluation/stress/invariants_of_reports.py
"""

import os
from functools import cache
from pathlib import Path

import pytest

from argus_evaluation.metrics.labels import read_labels
from argus_evaluation.stress.changes import ERRORS, HARMLESS
from argus_evaluation.stress.report_facts import read_facts
from argus_evaluation.stress.stress_pairs import make_pairs
from argus_evaluation.stress.stress_references import read_references

WANTED = 500


@cache
def real_pairs():
    reports = read_references(Path(os.environ["ARGUS_REPORTS"])).reports
    return reports, make_pairs(reports, WANTED)


@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_changes_leave_all_that_is_read(kind):
    reports, pairs = real_pairs()
    own = [pair for pair in pairs if pair.kind == kind]
    assert own
    for pair in own:
        assert pair.text != reports[pair.reference]
        assert read_facts(pair.text) == read_facts(reports[pair.reference])
        assert read_labels(pair.text) == read_labels(reports[pair.reference])


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_change_what_they_claim(kind):
    reports, pairs = real_pairs()
    own = [pair for pair in pairs if pair.kind == kind]
    assert own
    for pair in own:
        before, after = read_facts(reports[pair.reference]), read_facts(pair.text)
        assert all(getattr(before, name) != getattr(after, name) for name in ERRORS[kind].changes)
