"""Find for each sentence of a report the voxels of the scan that carried it."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from argus_processing.instructions import INSTRUCTION
from argus_processing.mean_scan.body_shift import find_shift
from argus_processing.mean_scan.mean_scan import MeanScan, coarse_scan

from ..generation import device_of, inputs_of, prompt_of
from .evidence import NO_REFERENCE, NOT_CARRIED, Evidence, EvidenceSettings, SentenceEvidence
from .evidence_maps import MapMaker
from .evidence_memory import plan_evidence
from .path_gradients import frozen, integrated_gradients, recomputing, visual_tokens
from .reference_pixels import reference_pixels
from .report_tokens import ReportTokens, tokens_of_report
from .scan_placement import file_axes_of, placement_of


def explain(
    model: Any,
    processor: Any,
    scan: Any,
    report: str,
    mean: MeanScan,
    *,
    instruction: str = INSTRUCTION,
    settings: EvidenceSettings | None = None,
) -> Evidence:
    """Return the evidence for each sentence of a report: its support, a map in the scan, and the map's peak.

    The map of a sentence is the part of its integrated gradients that speaks for it, from the mean of training scans to
    the scan, smoothed. A sentence that the scan makes hardly more likely than the mean does has no map. If the mean
    fits nowhere in the scan, no sentence has one.

    Args:
        model: a loaded Argus model.
        processor: its processor.
        scan: anything that the processor takes as an image.
        report: a report of the scan; one of another scan or another writer will do.
        mean: the model's mean scan (`read_mean_scan`).
        instruction: the instruction that the report answers.
        settings: default: `EvidenceSettings()`.

    Raises:
        CTReadError: if the scan cannot be read.
        ValueError: if the report is empty.
    """
    settings = settings or EvidenceSettings()
    volume = processor.image_processor.load_volume(scan)
    shift = find_shift(coarse_scan(volume, mean.step_mm), mean.hu, mean.step_mm)
    to_grid = processor.image_processor.to_grid(volume)
    axes = file_axes_of(volume)
    placement = placement_of(processor.image_processor, volume, to_grid)
    maps = MapMaker(volume, placement, axes, settings.smoothing_mm)
    inputs = inputs_of(processor, [prompt_of(processor, instruction)], [volume])
    device = device_of(model)
    tokens = tokens_of_report(processor, inputs["input_ids"].to(device), report)
    if shift.correlation < settings.min_correlation:
        reason = f"no map: {NO_REFERENCE} (correlation {shift.correlation:.2f}, {settings.min_correlation:g} is needed)"
        told = [SentenceEvidence(report[start:end], start, end, None, reason) for start, end in tokens.spans]
        return Evidence(tuple(told), shift, maps.grid, axes)
    pixel_values = inputs["pixel_values"]
    reference = reference_pixels(processor.image_processor, volume, to_grid, pixel_values[0, 0], mean, shift)
    attributed, supports = _attribute(
        model, tokens, pixel_values.to(device), reference[None, None].to(device), settings
    )
    return Evidence(_describe(report, tokens, supports, attributed, maps), shift, maps.grid, axes)


def supports_of(model: Any, tokens: ReportTokens, pixel_values: torch.Tensor, reference: torch.Tensor) -> list[float]:
    """Return each sentence's log-probability on the scan minus that on the reference, in nats."""
    with torch.no_grad():
        own, other = (tokens.log_probs(model, visual_tokens(model, each))[0] for each in (pixel_values, reference))
    gained = own - other
    return [float(gained[list(places)].sum()) for places in tokens.tokens]


def _attribute(
    model: Any,
    tokens: ReportTokens,
    pixel_values: torch.Tensor,
    reference: torch.Tensor,
    settings: EvidenceSettings,
) -> tuple[dict[int, torch.Tensor], list[float]]:
    """Return the nats of each voxel for the sentences that have enough support, and the support of all."""
    supports = supports_of(model, tokens, pixel_values, reference)
    carried = [number for number, support in enumerate(supports) if support >= settings.min_support]
    if not carried:
        return {}, supports
    plan = plan_evidence(model, tokens.input_ids.shape[1], len(tokens.targets), len(carried), settings)
    with frozen(model), recomputing(model) if plan.recompute else nullcontext():
        nats = integrated_gradients(
            model, tokens, pixel_values, reference, carried, settings.num_steps, plan.steps_at_once
        )
    return dict(zip(carried, nats, strict=True)), supports


def _describe(
    report: str,
    tokens: ReportTokens,
    supports: Sequence[float],
    attributed: dict[int, torch.Tensor],
    maps: MapMaker,
) -> tuple[SentenceEvidence, ...]:
    sentences = []
    for number, (start, end) in enumerate(tokens.spans):
        found = SentenceEvidence(report[start:end], start, end, supports[number], NOT_CARRIED)
        if number in attributed:
            density = maps.density_of(attributed[number])
            found = replace(found, reason="", density=density, peak=maps.peak_of(density))
        sentences.append(found)
    return tuple(sentences)
