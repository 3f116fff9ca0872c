"""Write reports with llama.cpp in place of the language model: torch encodes the scan, llama.cpp reads and writes."""

import hashlib
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import check_fit, load_config, load_processor, refusing
from argus_processing.storage.file_hash import hash_file
from argus_processing.storage.foreign_files import ForeignFileError, check_regular
from modeling_argus import ArgusForConditionalGeneration
from modeling_argus.connector_argus import ArgusConnector
from modeling_argus.modeling_argus import ArgusCausalLMOutputWithPast
from modeling_argus.vision_towers_argus import tower_of

from ..generation import TransformersBatches
from ..model_folder import check_model_folder, hash_model
from ..rehearsal import rehearse
from .export_gguf import NEEDED, SIGHT_KEY
from .llama_library import GgufModel
from .sight import CONNECTOR, TOWER, FolderWeights, hash_sight
from .text_reader import TextReader


class ArgusWithLlamaCpp(ArgusForConditionalGeneration):
    """Argus whose language model is a GGUF file; for `generate` alone, with all settings that transformers has.

    Each step of `generate` gives the whole text so far. What llama.cpp has already read of it is not read again.
    """

    reader: TextReader

    def forward(
        self,
        input_ids: torch.LongTensor,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs,
    ) -> ArgusCausalLMOutputWithPast:
        """Return the logits after the last token of each text, `(B, 1, vocabulary)`.

        Args:
            input_ids: `(B, L)` token ids, padded on the left.
            pixel_values: `(B, 1, D, H, W)`.
            attention_mask: `(B, L)`, 1 keeps and 0 hides.
            mm_encoder_outputs: encoded volumes in place of `pixel_values`.
            **kwargs: what `generate` also gives; there is no cache of transformers.
        """
        kept = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        texts = [row[keep.bool()].tolist() for row, keep in zip(input_ids, kept, strict=True)]
        encoded = (mm_encoder_outputs or {}).get("image")
        seen = pixel_values if encoded is None else encoded
        logits = self.reader.read(texts, seen, partial(self._visual_tokens, pixel_values, encoded))
        return ArgusCausalLMOutputWithPast(logits=torch.from_numpy(logits)[:, None].to(input_ids.device))

    def _visual_tokens(self, pixel_values: torch.Tensor | None, encoded: Any) -> torch.Tensor | None:
        """Return the projected visual tokens of each text, `(B, num_tokens, num_embeddings)`."""
        if encoded is None and pixel_values is not None:
            encoded = self.get_image_features(pixel_values)
        return None if encoded is None else encoded.pooler_output


def load_with_gguf(folder: Path, llm: Path) -> tuple[ArgusWithLlamaCpp, Any]:
    """Load `(model, processor)` from a model folder and the GGUF file of its language model.

    The folder's own language model is not read. llama.cpp uses as many threads as torch.

    Raises:
        FileNotFoundError, ValueError: as `check_model_folder`, or if the file belongs to another model.
    """
    check_installed()
    config = load_config(check_model_folder(folder), REPORT_WRITER)
    weights, language = FolderWeights(folder), GgufModel(llm)
    _check_pair(folder, config.get_text_config(), weights, language)
    with torch.device("meta"):
        model = ArgusWithLlamaCpp(config)
    tower = tower_of(config.get_vision_config().model_type).model_class._from_config(config.get_vision_config())
    for name, prefix, part in (("vision_tower", TOWER, tower), ("connector", CONNECTOR, ArgusConnector(config))):
        with refusing(folder):
            part.load_state_dict(dict(weights.below(prefix)))
        setattr(model.model, name, part.float().to("cuda" if torch.cuda.is_available() else "cpu"))
    with refusing(folder):
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    # Each step then gets the whole text, and the scan with it.
    model.generation_config.use_cache = False
    model.reader = TextReader(language, config.image_token_id, torch.get_num_threads())
    processor = load_processor(folder)
    check_fit(folder, model, processor)
    rehearse(folder, model.eval(), processor)
    return model, processor


def hash_with_gguf(folder: Path, llm: Path) -> str:
    """Return the SHA-256 (hex) that stands for a model folder with a GGUF file in place of its language model."""
    return hashlib.sha256(f"{hash_model(folder)} {hash_file(llm)}".encode()).hexdigest()


def start_batches(folder: Path, llm: Path) -> TransformersBatches:
    """Load as `load_with_gguf`, for `argus evaluate`."""
    return TransformersBatches(*load_with_gguf(folder, llm))


def llama_cpp_name(llm: Path) -> str:
    """Return what results tell of the engine: llama-cpp-python's version, and the file's hash."""
    check_regular(llm)
    check_installed()
    return f"llama-cpp-python {version('llama-cpp-python')}, {hash_file(llm)}"


def check_installed() -> None:
    """Refuse to go on without llama-cpp-python.

    Raises:
        ValueError: telling how to install it.
    """
    if find_spec("llama_cpp") is None:
        raise ValueError(NEEDED.format("llama-cpp-python"))


def _check_pair(folder: Path, config: Any, weights: FolderWeights, language: GgufModel) -> None:
    """Check that a file's language model was trained with the tower and connector of a folder.

    Raises:
        ForeignFileError: if not.
    """
    ours, theirs = (config.vocab_size, config.hidden_size), (language.num_tokens, language.num_embeddings)
    if ours != theirs:
        raise ForeignFileError(
            f"{language.path}: has {theirs[0]:,} tokens of {theirs[1]:,} channels, and {folder} {ours[0]:,} of "
            f"{ours[1]:,}; argus export-gguf writes the file of this model"
        )
    said = language.told(SIGHT_KEY)
    if said != hash_sight(weights):
        origin = "not written by argus export-gguf" if said is None else "exported from another model"
        raise ForeignFileError(f"{language.path}: was {origin}; argus export-gguf writes the file of {folder}")
