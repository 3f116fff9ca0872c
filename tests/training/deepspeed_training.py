"""Training under DeepSpeed ZeRO-3 on CPUs, in two processes; `make test-deepspeed` installs DeepSpeed and runs this.

The file is not named as a test, so that `make test`, where DeepSpeed is not installed, does not pass over it.
"""

import json

import pytest
import torch
import two_processes
from deepspeed.runtime.config import DeepSpeedConfig
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

# With a large epsilon the first step of Adam does not turn rounding of a gradient near zero into a step of full length.
STEP = {"trainable_parts": ["vision", "connector", "llm"], "learning_rate": 1e-3, "adam_epsilon": 1e-3}


def test_a_step_with_offload_is_that_of_plain_adamw(train_together, model_dir):
    plain, _ = train_together("ddp", 1, 1, stage2=STEP)
    sharded, _ = train_together("zero3_offload", 2, 1, stage2=STEP)
    before, expected, actual = (
        load_file(folder / "model.safetensors") for folder in (model_dir, plain / "model", sharded / "model")
    )
    assert before.keys() == expected.keys() == actual.keys() and all(tensor.numel() for tensor in actual.values())
    assert max((expected[name] - before[name]).abs().max() for name in expected) > 5e-4
    for name, weight in expected.items():
        torch.testing.assert_close(actual[name], weight, atol=1e-6, rtol=0)
    # The saved model loads, and does what the trained one did.
    model = AutoModelForImageTextToText.from_pretrained(sharded / "model", dtype=torch.float32)
    logits = load_file(sharded / "logits.safetensors")["logits"]
    torch.testing.assert_close(two_processes.logits_of(model), logits, atol=1e-4, rtol=1e-4)


def test_adapters_trained_in_shards_are_merged_whole(train_together):
    folder, _ = train_together("zero3_offload", 2, 1, **two_processes.ADAPTERS)
    two_processes.check_merged(folder)


@pytest.mark.parametrize(
    ("name", "stage", "device"), [("zero2", 2, None), ("zero3", 3, None), ("zero3_offload", 3, "cpu")]
)
def test_deepspeeds_own_parser_reads_its_configurations(name, stage, device):
    said = json.loads((two_processes.CONFIGS / f"{name}.json").read_text())
    said |= {"train_batch_size": 16, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 8}
    said |= {"gradient_clipping": 1.0, "bf16": {"enabled": True}}
    said["zero_optimization"] = {key: value for key, value in said["zero_optimization"].items() if value != "auto"}
    zero = DeepSpeedConfig(said).zero_config
    assert zero.stage == stage
    assert (zero.offload_optimizer and zero.offload_optimizer.device) == device
