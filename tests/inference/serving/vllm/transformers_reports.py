"""The tokens that transformers writes, to which vLLM's are compared."""

import torch

from argus_inference.generation import device_of, inputs_of, prompt_of
from argus_processing import CTVolume
from argus_processing.instructions import INSTRUCTION

NUM_SCANS, MAX_TOKENS = 16, 200


def greedy(reference, scan: CTVolume) -> list[int]:
    """Return the token ids of a scan's report, with the one that ends it."""
    model, processor = reference
    inputs = inputs_of(processor, [prompt_of(processor, INSTRUCTION)], [scan]).to(device_of(model))
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
    return tokens[0, inputs["input_ids"].shape[1] :].tolist()
