"""Define Argus as a model of vLLM: the tower and connector of `modeling_argus`, a language model of vLLM's own."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsLoRA, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, init_vllm_registered_model, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from modeling_argus.connector_argus import ArgusConnector
from modeling_argus.vision_towers_argus import tower_of

from .scan_inputs import ArgusInputs, ArgusProcessingInfo, BlankVolumes


@MULTIMODAL_REGISTRY.register_processor(ArgusInputs, info=ArgusProcessingInfo, dummy_inputs=BlankVolumes)
class ArgusForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsPP, SupportsLoRA):
    """Model of vLLM that writes a report from a CT volume and an instruction.

    The language model is split over GPUs, quantised and given adapters as vLLM does it for that family. Tower and
    connector lie whole on each GPU in the model's data type; they are small beside it.
    """

    packed_modules_mapping = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.vision_tower.": "vision_tower.",
            "model.connector.": "connector.",
            "model.language_model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
        }
    )

    vision_tower: nn.Module
    connector: ArgusConnector
    language_model: Any

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Return None: the chat template writes the placeholder itself."""
        return None

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        super().__init__()
        config = vllm_config.model_config.hf_config
        vision, text = config.get_vision_config(), config.get_text_config()
        self.config = config
        base: Any = self  # vLLM's base classes are not there when types are checked
        base.configure_mm_token_handling(text.vocab_size, [config.image_token_id])
        with base._mark_tower_model(vllm_config, "image"):
            tower = tower_of(vision.model_type).model_class
            dtype = vllm_config.model_config.dtype
            self.vision_tower = tower._from_config(vision, dtype=dtype)
            self.connector = ArgusConnector(config).to(dtype)
        with base._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=text,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[text.model_type]],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(self, **kwargs: Any) -> MultiModalEmbeddings:
        """Return the visual tokens `(num_tokens, text hidden_size)` of each volume, or those that were sent."""
        embeddings, pixel_values = kwargs.get("image_embeds"), kwargs.get("pixel_values")
        if embeddings is not None:
            return list(embeddings)
        if pixel_values is None:
            return []
        # One by one: the tower's peak of memory is then that of one volume, which vLLM measured at its start.
        return [self._visual_tokens(volume) for volume in pixel_values]

    def _visual_tokens(self, volume: torch.Tensor) -> torch.Tensor:
        return self.connector(self.vision_tower(volume[None]).last_hidden_state)[0]

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: object,
    ) -> torch.Tensor | IntermediateTensors:
        """Run the language model on a batch of tokens; vLLM has put the visual tokens into `inputs_embeds`."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        return self.language_model.model(input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """Compute the logits over the vocabulary; the placeholder token is never written."""
        logits = self.language_model.compute_logits(hidden_states)
        if logits is not None and self.config.image_token_id < logits.shape[-1]:
            logits[..., self.config.image_token_id] = float("-inf")
        return logits

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Load the weights of a model folder, each by its prefix."""
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Return which part is what: adapters belong to the language model."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="connector", tower_model="vision_tower"
        )
