"""Sanity of maps, on a tiny model that a test trains to see two findings: they come from sentence, model and scan."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import set_seed

from argus_evaluation.evidence.evidence_cases import EvidenceCase, Statement, TrueFinding
from argus_evaluation.evidence.evidence_checks import measure_random_tower, share_with_map
from argus_evaluation.evidence.evidence_measures import EvidenceMeasure, PointedSentence
from argus_evaluation.evidence.phantom_cases import finding_mask
from argus_inference.evidence.evidence import EvidenceSettings
from argus_inference.evidence.path_gradients import visual_tokens
from argus_inference.evidence.report_tokens import tokens_of_report
from argus_inference.generation import inputs_of, prompt_of
from argus_processing.ct_volume import CTVolume
from argus_processing.mean_scan.mean_scan import mean_of
from argus_processing.phantom.findings import Finding
from argus_processing.phantom.scans import make_phantom
from modeling_argus import ArgusForConditionalGeneration

SPACING = (12.0, 8.0, 8.0)
EFFUSION, HEART = Finding("Pleural effusion", "right"), Finding("Cardiomegaly")
# In half of the training scans and never told of: what differs most from the mean is not what the sentences are about.
DEVICE = Finding("Medical material", "left", "chest wall")
TOLD = {EFFUSION: "There is a pleural effusion on the right.", HEART: "The heart is enlarged."}
DENIED = {EFFUSION: "No pleural effusion.", HEART: "No cardiomegaly."}
KINDS = ((), (EFFUSION,), (HEART,), (EFFUSION, HEART))
NUM_TRAINED, NUM_STEPS, BATCH = 16, 70, 4  # scans of each kind, steps, scans of each kind in a step
# Sizes, and weights that start as large as so narrow a model needs, with which it learns within seconds.
VISION = {
    **{"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128},
    "initializer_range": 0.07,
}
TEXT = {"num_hidden_layers": 1, "initializer_range": 0.06}
SHORT = "Report."
TESTED = range(500, 506)


def report_of(findings) -> str:
    return " ".join((TOLD if finding in findings else DENIED)[finding] for finding in (EFFUSION, HEART))


def volume_of(seed: int, findings) -> CTVolume:
    return CTVolume.from_array(make_phantom(seed, SPACING, findings).hu, SPACING)


def case_of(seed: int, findings, report: str) -> EvidenceCase:
    phantom = make_phantom(seed, SPACING, (*findings, DEVICE))
    truths = {finding: TrueFinding(finding.label, finding_mask(phantom, SPACING, finding)) for finding in findings}

    def statements(text: str) -> list[Statement]:
        return [
            Statement(truth, match.start(), match.end())
            for finding, truth in truths.items()
            for match in re.finditer(re.escape(TOLD[finding]), text)
        ]

    return EvidenceCase(
        str(seed), volume_of(seed, (*findings, DEVICE)), tuple(truths.values()), statements, report, SHORT
    )


@pytest.fixture(scope="module")
def measure(loaded) -> EvidenceMeasure:
    """Train an Argus of one layer each to write which of two findings a scan has."""
    processor = loaded[1]
    config = copy.deepcopy(loaded[0].config)
    config.vision_config = type(config.vision_config)(**config.vision_config.to_dict() | VISION)
    config.text_config = type(config.text_config)(**config.text_config.to_dict() | TEXT)
    set_seed(0)
    model = ArgusForConditionalGeneration(config)
    volumes = [
        [volume_of(100 * kind + n, (*found, *[DEVICE] * (n % 2))) for n in range(NUM_TRAINED)]
        for kind, found in enumerate(KINDS)
    ]
    pixels = [processor.image_processor(own)["pixel_values"] for own in volumes]
    prompt = inputs_of(processor, [prompt_of(processor, SHORT)], [volumes[0][0]])["input_ids"]
    reports = [tokens_of_report(processor, prompt, report_of(findings)) for findings in KINDS]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for step in range(NUM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 10, (NUM_STEPS - step) / 30)
        optimizer.zero_grad()
        for report, own in zip(reports, pixels, strict=True):
            chosen = own[torch.randperm(NUM_TRAINED, generator=draw)[:BATCH]]
            (-report.log_probs(model, visual_tokens(model, chosen)).sum(dim=1).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    mean = mean_of([*volumes[0], *volumes[1][:8], *volumes[2][:8]])
    return EvidenceMeasure(model.eval(), processor, mean, EvidenceSettings(), deletes=False)


@pytest.fixture(scope="module")
def cases() -> list[EvidenceCase]:
    both = (EFFUSION, HEART)
    return [case_of(seed, both, report_of(both)) for seed in TESTED]


@pytest.fixture(scope="module")
def own(measure, cases) -> list[PointedSentence]:
    return sentences_of(measure.measure_all(cases))


def sentences_of(measured) -> list[PointedSentence]:
    return [sentence for case in measured for sentence in case.sentences]


def test_maps_of_a_model_that_sees_peak_on_the_finding(own):
    assert len(own) == 2 * len(TESTED) and sum(each.within_a_voxel is True for each in own) >= len(own) - 1
    assert sum(each.chance for each in own) < 2 and sum(each.no_model for each in own) < len(own) - 1


def test_the_map_of_another_sentence_does_not_peak_there(own):
    others = [each.other_sentence for each in own]
    assert None not in others and sum(others) <= 1


def test_maps_of_a_random_tower_do_not_peak_there(measure, cases):
    assert sum(each.within_a_voxel for each in sentences_of(measure_random_tower(measure, cases))) <= 2
    assert measure.model is not None and sentences_of(measure.measure_all(cases[:1]))[0].within_a_voxel  # is unchanged


def test_a_finding_that_a_scan_does_not_have_gets_no_map(measure, cases):
    report = report_of(())
    counts = [
        share_with_map(measure, case_of(seed, (), report), case) for seed, case in zip(TESTED, cases, strict=True)
    ]
    assert sum(count for _, count in counts) == 2 * len(TESTED) and sum(maps for maps, _ in counts) <= 2


def test_a_sentence_that_says_the_same_again_is_not_another(measure):
    told = TOLD[EFFUSION]
    (sentence,) = measure.measure(case_of(TESTED[0], (EFFUSION,), f"{told} {told}")).sentences
    assert sentence.within_a_voxel and sentence.other_sentence is None


def test_a_sentence_about_a_finding_that_lies_on_this_one_is_not_another(measure, cases):
    finding = cases[0].findings[0]
    near = TrueFinding("neighbour", np.roll(finding.mask, 1, axis=2))
    (told,) = (each for each in cases[0].statements_in(cases[0].report) if each.finding is finding)
    (other,) = (each for each in cases[0].statements_in(cases[0].report) if each.finding is not finding)
    lying = replace(cases[0], statements_in=lambda report: [told, replace(other, finding=near)])
    for case, expected in ((cases[0], False), (lying, None)):
        first = next(each for each in measure.measure(case).sentences if each.finding == finding.name)
        assert first.within_a_voxel and first.other_sentence is expected
