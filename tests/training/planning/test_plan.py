"""Memory against torch's own tracker of a real step, sizes and operations against figures computed elsewhere."""

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from trl.kernels import chunked_logprob
from trl.trainer.utils import add_fused_lm_head

from argus_training.planning.plan import best_run, make_plan
from argus_training.planning.training_memory import TILE_TOKENS, StepShape, activation_bytes, kept_bytes, model_sizes
from modeling_argus import ArgusForConditionalGeneration, preset_config

PARTS = frozenset({"vision", "connector", "llm"})


def measured_peak(micro_batch: int, num_text_tokens: int, checkpointing: bool) -> dict[str, int]:
    """Bytes of live tensors at the peak of two steps, by kind; TRL's loss, AdamW."""
    torch.manual_seed(0)
    model = ArgusForConditionalGeneration(preset_config("argus-tiny")).train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    if checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=False)
    ids = torch.randint(10, 300, (micro_batch, 8 + num_text_tokens))
    ids[:, :8] = model.config.image_token_id
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    volumes = torch.rand(micro_batch, 1, 32, 64, 64)
    tracker = MemTracker()
    tracker.track_external(model, optimizer, volumes)
    with tracker:
        for _ in range(2):
            model(pixel_values=volumes, **batch, fused_lm_head=True).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            tracker.reset_mod_stats()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    return {getattr(kind, "name", kind): size for kind, size in snapshot.items()}


@pytest.mark.parametrize(("micro_batch", "num_text_tokens"), [(2, 100), (4, 200)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_memory_is_what_torch_measures_on_the_tiny_preset(micro_batch, num_text_tokens, checkpointing):
    peak = measured_peak(micro_batch, num_text_tokens, checkpointing)
    config, sizes = preset_config("argus-tiny"), model_sizes("argus-tiny")
    shape = StepShape(micro_batch, 8 + num_text_tokens, 7 + num_text_tokens, 4, 4, tile_copies=7)
    planned = 12 * sizes.total + activation_bytes(config, sizes, shape, PARTS, checkpointing, head_trains=True)
    assert planned == pytest.approx(peak["Total"], rel=0.15)
    # The loss is most of the peak of so small a model: what the layers keep is compared by itself too.
    num_volumes = 4 * micro_batch * 32 * 64 * 64
    kept = kept_bytes(config, shape, PARTS, checkpointing) - num_volumes
    assert kept == pytest.approx(peak["Total"] - 12 * sizes.total - peak["TEMP"] - num_volumes, rel=0.15)


def test_a_tile_of_logits_is_trls():
    assert TILE_TOKENS == chunked_logprob.TOKEN_CHUNK_SIZE


@pytest.mark.parametrize(
    ("preset", "llm", "connector"),
    [("argus-3b-nr", 3.213, 0.028), ("argus-8b-hr", 8.030, 0.042), ("argus-70b-hr", 70.554, 0.117)],
)
def test_parameters_are_the_known_ones(preset, llm, connector):
    sizes = model_sizes(preset)
    assert sizes.llm / 1e9 == pytest.approx(llm, abs=6e-4)
    assert sizes.connector / 1e9 == pytest.approx(connector, abs=6e-4)


def test_adapters_of_the_70b_model_are_1_66_billion():
    assert model_sizes("argus-70b-hr").adapter_widths * 128 / 1e9 == pytest.approx(1.66, abs=5e-3)


@pytest.mark.parametrize(
    ("preset", "strategy", "tera"),
    [
        ("argus-3b-nr", "DDP", 9.5),
        ("argus-3b-hr", "DDP", 16.8),
        ("argus-8b-nr", "DDP", 20.8),
        ("argus-8b-hr", "DDP", 34.6),
        ("argus-70b-nr", "ZeRO-3, LoRA", 129),
        ("argus-70b-hr", "ZeRO-3, LoRA", 206),
    ],
)
def test_operations_of_a_step_are_the_known_ones(preset, strategy, tera):
    (run,) = (run for run in make_plan(preset, 8, 80).runs if run.strategy.name == strategy)
    assert run.step_flops / 16e12 == pytest.approx(tera, rel=0.01)


@pytest.mark.parametrize(
    ("preset", "strategy", "gigabytes"), [("argus-8b-hr", "ZeRO-3", 16.3), ("argus-70b-hr", "ZeRO-3, LoRA", 21.4)]
)
def test_states_on_eight_gpus_are_the_known_ones(preset, strategy, gigabytes):
    (run,) = (run for run in make_plan(preset, 8, 80).runs if run.strategy.name == strategy)
    held = run.held
    assert (held.weights + held.gradients + held.optimizer) / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_the_command_is_of_a_strategy_that_fits():
    plan = make_plan("argus-70b-hr", 8, 80)
    best = best_run(plan)
    assert best.fits and best.total < 80e9 and best.strategy.with_adapters
    assert "training/recipes/argus_70b_hr.yaml" in best.command and "--num_processes 8" in best.command
    assert best_run(make_plan("argus-70b-hr", 1, 8)) is None


def test_gpus_that_cannot_share_the_batch_are_refused():
    with pytest.raises(ValueError, match="no multiple"):
        make_plan("argus-8b-hr", 3, 80)
