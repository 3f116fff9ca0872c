"""Whole audits of writers that read the scan and of writers that do not, in this process and at an address."""

import json
from functools import lru_cache

import numpy as np
import pytest
from dishonest_writers import HashWriter, MeanWriter, SampledWriter, TemplateWriter, Writer
from writer_server import WriterServer

from argus_evaluation.audit import audit
from argus_evaluation.audit.audit import spoken_labels
from argus_evaluation.audit.audit_plan import plan_first_look
from argus_evaluation.audit.audit_results import read_audit
from argus_evaluation.audit.audit_verdict import CANNOT_TELL, DOES_NOT_READ, READS
from argus_evaluation.audit.audited_models import Written
from argus_evaluation.audit.model_address import AddressModel
from argus_processing.phantom.findings import FINDING_KINDS
from argus_processing.phantom.wording import write_report

COARSE_MM = (12.0, 8.0, 8.0)
NUM_PHANTOMS, ALL = 8, tuple(FINDING_KINDS)


class HonestWriter(Writer):
    """Know every scan of the audit by its voxels, and report what is drawn in it; it stands for a model that reads."""

    name = "honest writer"

    def __init__(self, drawings, spacing_mm=COARSE_MM):
        super().__init__(spacing_mm)
        self._findings = {audit.draw_scan(one, spacing_mm).hu.tobytes(): one.findings for one in drawings}
        self.asked = 0

    def report(self, hu):
        self.asked += 1
        return write_report(
            self._findings[np.ascontiguousarray(hu, dtype=np.int16).tobytes()], np.random.default_rng(0)
        )


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """All audits here are of the same phantoms, which are planned and drawn once; only one test looks at examples."""
    patch = pytest.MonkeyPatch()
    for name in ("plan_audit", "draw_scan"):
        patch.setattr(audit, name, lru_cache(maxsize=None)(getattr(audit, name)))
    yield
    patch.undo()


@pytest.fixture
def no_examples(monkeypatch):
    monkeypatch.setattr(audit, "phantom_examples", lambda plan, answers, spacing_mm: [])


@pytest.fixture(scope="module")
def drawings():
    return (*audit.plan_audit(NUM_PHANTOMS, 0, ALL).drawings, *plan_first_look())


@pytest.fixture(scope="module")
def honest(drawings):
    return HonestWriter(drawings)


@pytest.fixture
def run_audit(tmp_path):
    def run(model, name="out", **options):
        return audit.audit_model(model, tmp_path / name, num_phantoms=NUM_PHANTOMS, **options)

    return run


def test_a_writer_that_sees_what_is_drawn_reads_the_image(run_audit, honest, tmp_path):
    results = run_audit(honest)
    assert (results.verdict, results.paired_effect.value) == (READS, 1.0)
    assert results.effects["elsewhere_effect"].value == results.effects["cross_label_change"].value == 0
    assert results.effects["side_following"].value == 1.0 and results.sides_followed[0] == results.sides_followed[1] > 8
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["verdict"] == READS and set(written["paired_effect"]) >= {"value", "low", "high", "n"}
    assert written["paired_effect"]["n"] == NUM_PHANTOMS
    assert read_audit(tmp_path / "out") == results
    page = (tmp_path / "out" / "audit.html").read_text()
    assert READS in page and "http" not in page.replace("http-equiv", "") and page.count("data:image/png") == 5


@pytest.mark.parametrize("writer", [HashWriter, SampledWriter, MeanWriter])
def test_a_writer_that_does_not_look_has_no_effect(run_audit, no_examples, writer):
    results = run_audit(writer(COARSE_MM))
    effect = results.paired_effect
    assert results.verdict in (DOES_NOT_READ, CANNOT_TELL) and results.verdict != READS
    assert effect.high < 0.5
    assert writer is MeanWriter or effect.low <= 0 <= effect.high


def test_a_model_at_an_address_is_audited_in_the_same_way(run_audit, no_examples, honest, serving):
    server = WriterServer(honest.report)
    with serving(server.app()) as address:
        results = run_audit(AddressModel(address, spacing_mm=COARSE_MM))
    assert (results.verdict, results.paired_effect.value, results.model) == (READS, 1.0, "writer")


def test_an_audit_goes_on_where_it_stopped_and_gives_the_same(run_audit, no_examples, drawings, honest, tmp_path):
    class Stopped(HonestWriter):
        def report(self, hu):
            if self.asked == 70:
                raise KeyboardInterrupt
            return super().report(hu)

    with pytest.raises(KeyboardInterrupt):
        run_audit(Stopped(drawings))
    assert not (tmp_path / "out" / "results.json").exists()
    again = HonestWriter(drawings)
    results = run_audit(again)
    assert again.asked == results.num_scans + len(plan_first_look()) - 70
    whole = run_audit(honest, "whole")
    assert results.effects == whole.effects and results.by_finding == whole.by_finding


def test_scans_without_a_report_are_told_left_out_and_asked_again(run_audit, no_examples, drawings):
    class Failing(HonestWriter):
        every = 4

        def write(self, scans):
            for index, made in super().write(scans):
                yield index, Written(None, "is tired") if index % self.every == 1 else made

    said = []
    model = Failing(drawings)
    results = run_audit(model, say=said.append)
    assert results.verdict == CANNOT_TELL and results.failures == {"is tired": results.num_failed}
    assert said == [f"{results.num_failed} of {results.num_scans} scans have no report: is tired"]
    model.every = 10**6
    assert run_audit(model).verdict == READS


def test_findings_that_a_model_never_speaks_of_are_not_asked_about():
    labels = ("Lung nodule", "Pleural effusion", "Emphysema", "Consolidation")
    spoken = "There is a nodule. No pleural effusion. No emphysema. There is no consolidation."
    assert set(spoken_labels([spoken])) == set(labels)
    assert len(spoken_labels(["There is a nodule."])) > 12  # too few to ask about: all are


def test_a_folder_of_another_model_is_refused(run_audit, no_examples, honest):
    run_audit(TemplateWriter(COARSE_MM))
    with pytest.raises(ValueError, match="holds the audit of another model"):
        run_audit(honest)
