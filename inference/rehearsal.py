"""Try a model briefly right after loading, so that an error shows at once and not at the first scan."""

from pathlib import Path
from typing import Any

import torch

from argus_processing.instructions import INSTRUCTION
from argus_processing.saved_models.pretrained import refusing
from argus_processing.storage.foreign_files import ForeignFileError

from .generation import device_of, inputs_of, prompt_of


def rehearse(folder: Path, model: Any, processor: Any) -> None:
    """Try a loaded model: encode one patch, run the connector, and write one token.

    This costs about as much as one token of a report: no scan is read, and of a prompt only the last token.

    Raises:
        ForeignFileError: if a part fails, or gives a number that is not finite.
    """
    with refusing(folder, "correct its configuration or copy it again"), torch.inference_mode():
        parts = {"vision tower": _patch, "connector": _visual_tokens, "language model": _next_token}
        for name, run in parts.items():
            if not torch.isfinite(run(model, processor)).all():
                raise ForeignFileError(f"{folder}: its {name} gives no finite numbers; copy it again")


def _patch(model: Any, processor: Any) -> torch.Tensor:
    """Encode one patch of air."""
    patch = torch.zeros(1, 1, *model.config.vision_config.patch_size, device=device_of(model), dtype=model.dtype)
    return model.model.vision_tower(patch).last_hidden_state


def _visual_tokens(model: Any, processor: Any) -> torch.Tensor:
    """Compress and project the tokens of a whole grid, all zero."""
    vision = model.config.vision_config
    tokens = torch.zeros(1, vision.num_tokens, vision.hidden_size, device=device_of(model), dtype=model.dtype)
    return model.model.connector(tokens)


def _next_token(model: Any, processor: Any) -> torch.Tensor:
    """Write one token after the last one of a prompt; return its logits."""
    text = prompt_of(processor, INSTRUCTION).replace(processor.image_token, "")
    # Two texts of different lengths, so that one is padded.
    tokens = inputs_of(processor, [text, f"{text} {text}"], None)["input_ids"]
    if int(tokens.max()) >= model.config.text_config.vocab_size:
        raise ValueError(f"its tokenizer gives token {int(tokens.max())}, which the language model does not have")
    last = tokens[:1, -1:].to(device_of(model))
    written = model.generate(
        input_ids=last,
        attention_mask=torch.ones_like(last),
        max_new_tokens=1,
        do_sample=False,
        num_beams=1,
        output_logits=True,
        return_dict_in_generate=True,
    )
    processor.tokenizer.decode(written.sequences[0], skip_special_tokens=True)
    return written.logits[0]
