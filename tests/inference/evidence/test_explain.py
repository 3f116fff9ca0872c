"""The evidence for a report by a whole model: spans, support, maps, peaks, and the cases without a map."""

import nibabel as nib
import numpy as np
import pytest
import torch

from argus_inference.evidence.evidence import NOT_CARRIED, EvidenceSettings
from argus_inference.evidence.explain import explain
from argus_inference.evidence.report_tokens import tokens_of_report
from argus_processing import read_ct
from argus_processing.ct_volume import CTVolume

REPORT = "Findings: There is a small pleural effusion on the right. No lung nodule.\nImpression: Pleural effusion."
ALL = EvidenceSettings(min_support=-1e9, min_correlation=0.5)  # a random model carries little


@pytest.fixture(scope="module")
def evidence(loaded, scan, mean):
    return explain(*loaded, scan, REPORT, mean, settings=ALL)


def test_every_sentence_has_its_span_its_support_and_a_map_in_the_scan(evidence, scan):
    texts = ["There is a small pleural effusion on the right.", "No lung nodule.", "Pleural effusion."]
    assert [each.text for each in evidence.sentences] == texts
    volume = read_ct(scan)
    for each in evidence.sentences:
        assert REPORT[each.start : each.end] == each.text and np.isfinite(each.support) and each.reason == ""
        values = evidence.map_of(each)
        assert values.shape == volume.hu.shape and values.min() >= 0 and values.max() > 0
        assert values[each.peak.index] == values.max()


def test_peaks_are_those_of_the_scans_own_file(evidence, scan):
    image = nib.load(scan)
    for each in evidence.sentences:
        assert each.peak.patient_mm == pytest.approx((image.affine @ [*each.peak.file_index, 1])[:3], abs=1e-3)
        assert np.asarray(image.dataobj)[each.peak.file_index] == read_ct(scan).hu[each.peak.index]


def test_a_sentence_with_little_support_has_no_map(loaded, scan, mean, evidence):
    middle = sorted(each.support for each in evidence.sentences)[1]
    settings = EvidenceSettings(min_support=middle, min_correlation=0.5)
    found = explain(*loaded, scan, REPORT, mean, settings=settings)
    assert [each.density is not None for each in found.sentences] == [
        each.support >= middle for each in found.sentences
    ]
    assert {each.reason for each in found.sentences if each.density is None} == {NOT_CARRIED}
    assert [each.support for each in found.sentences] == [each.support for each in evidence.sentences]


def test_steps_at_once_and_layers_computed_again_change_only_last_digits(loaded, scan, mean, evidence):
    settings = EvidenceSettings(min_support=-1e9, min_correlation=0.5, steps_at_once=1, recompute=True)
    found = explain(*loaded, scan, REPORT, mean, settings=settings)
    for one, other in zip(evidence.sentences, found.sentences, strict=True):
        torch.testing.assert_close(one.density, other.density, atol=1e-3 * float(one.density.max()), rtol=1e-2)
    assert all(weight.requires_grad for weight in loaded[0].parameters())


def test_where_the_mean_does_not_fit_there_is_no_map_and_that_is_told(loaded, mean):
    draw = np.random.default_rng(0)
    hu = blocks_of_noise(draw)
    found = explain(*loaded, CTVolume.from_array(hu, (8.0, 8.0, 8.0)), REPORT, mean)
    assert len(found.sentences) == 3
    for each in found.sentences:
        assert each.density is None and each.peak is None and each.support is None
        assert each.reason.startswith("no map: the mean scan does not fit this scan (correlation ")


def blocks_of_noise(draw) -> np.ndarray:
    """A volume with the values of a CT and none of its shapes."""
    blocks = draw.integers(-1000, 1000, (8, 8, 8)).repeat(5, 0).repeat(5, 1).repeat(5, 2)
    return (blocks + draw.integers(-20, 20, blocks.shape)).clip(-1000, 1000).astype(np.int16)


def test_tokens_are_shared_out_among_sentences(loaded):
    processor = loaded[1]
    tokens = tokens_of_report(processor, torch.tensor([[1, 2]]), REPORT)
    assert [REPORT[start:end] for start, end in tokens.spans][1] == "No lung nodule."
    decoded = [processor.tokenizer.decode(tokens.targets[list(own)]).strip() for own in tokens.tokens]
    assert decoded == [REPORT[start:end] for start, end in tokens.spans]
    places = [place for own in tokens.tokens for place in own]
    assert len(places) == len(set(places)) < len(tokens.targets)  # the heads belong to no sentence
    assert tokens.input_ids.shape[1] == 2 + len(tokens.targets) - 1


def test_an_empty_report_is_refused(loaded, scan, mean):
    with pytest.raises(ValueError, match="the report is empty"):
        explain(*loaded, scan, "", mean)
