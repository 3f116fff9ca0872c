"""Write the report of a CT: a 3D vision tower, a connector and a language model (Argus paper, section 4)."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.generation import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModel
from transformers.utils import torch_compilable_check
from transformers.utils.generic import can_return_tuple
from transformers.utils.versions import require_version

from .configuration_argus import ArgusConfig
from .connector_argus import ArgusConnector
from .vision_towers_argus import tower_of


@dataclass
class ArgusModelOutputWithPast(BaseModelOutputWithPast):
    """Output of the backbone; `image_hidden_states` `(B, num_tokens, hidden_size)` are the projected visual tokens."""

    image_hidden_states: torch.Tensor | None = None


@dataclass
class ArgusCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Output with logits `(B, L, vocabulary)` and, if labels were given, the mean loss over labelled tokens."""

    image_hidden_states: torch.Tensor | None = None


class ArgusPreTrainedModel(PreTrainedModel):
    """Base class of both Argus models: configuration, weight initialisation and the features they support."""

    config: ArgusConfig
    config_class = ArgusConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")  # type: ignore[assignment] # a tuple in transformers' own models too
    supports_gradient_checkpointing = True
    # `cache` is the name of transformers from 5.24 on.
    _skip_keys_device_placement = ["past_key_values", "cache"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True  # a decoding step: with a static cache on a GPU transformers compiles it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        # Each module initialises its own parameters: transformers skips a module that has none of its own, so a parent
        # cannot initialise the parameters of its children.
        initialise = getattr(module, "init_weights", None)
        if initialise is not None and not isinstance(module, PreTrainedModel):
            initialise()


class ArgusModel(ArgusPreTrainedModel):
    """Vision tower, connector and language model without the output layer; returns `last_hidden_state`."""

    def __init__(self, config: ArgusConfig):
        super().__init__(config)
        vision = config.get_vision_config()
        self.vision_tower = tower_of(vision.model_type).model_class._from_config(vision)
        self.connector = ArgusConnector(config)
        self.language_model = AutoModel.from_config(config.get_text_config(), trust_remote_code=False)
        # Where a model is spread over devices, tower and connector lie whole on one: both are small, and add parameters
        # of their own to what their layers give.
        self._no_split_modules = [type(self.vision_tower).__name__, type(self.connector).__name__]
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    @can_return_tuple
    def get_image_features(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode volumes `(B, 1, D, H, W)`; `pooler_output` is `(B, num_tokens, text hidden_size)`.

        `output_hidden_states` and `output_attentions` return those of the vision tower.
        """
        vision = self.vision_tower(pixel_values, **kwargs | {"return_dict": True})
        vision.pooler_output = self.connector(vision.last_hidden_state)
        return vision

    def insert_image_features(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor, features: torch.Tensor
    ) -> torch.Tensor:
        """Replace the embeddings of the placeholder tokens by the visual tokens.

        Raises:
            ValueError: if there are more or fewer placeholders than visual tokens.
        """
        if input_ids is None:
            placeholder = torch.tensor(self.config.image_token_id, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(placeholder)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id
        # A number, not a tensor, because torch 2.11 cannot compile the check of a tensor.
        num_placeholders, num_features = mask.sum().item(), features.shape[0] * features.shape[1]
        # Not an `if`: torch.compile and torch.export cannot trace a branch on a number that depends on the data.
        torch_compilable_check(
            num_placeholders == num_features,
            lambda: (
                f"Image features and image tokens do not match: {num_features} visual tokens from "
                f"{features.shape[0]} volume(s), {num_placeholders} placeholder tokens in the text"
            ),
        )
        features = features.to(inputs_embeds.device, inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(mask.unsqueeze(-1), features)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        vision_tokens: torch.Tensor | None = None,
        **kwargs,
    ) -> ArgusModelOutputWithPast:
        """Run the backbone.

        Args:
            input_ids: `(B, L)` token ids with one placeholder for each visual token.
            pixel_values: `(B, 1, D, H, W)`, as the model's image processor makes them.
            attention_mask: `(B, L)`, 1 keeps and 0 hides; left padding is fine.
            position_ids: `(B, L)` positions.
            past_key_values: key-value cache.
            inputs_embeds: `(B, L, hidden_size)` in place of `input_ids`.
            mm_encoder_outputs: outputs of `get_image_features` under "image", in place of `pixel_values`.
            vision_tokens: `(B, N, C)` output of the vision tower, in place of `pixel_values`; the connector is applied.
            **kwargs: handed to the language model.

        Raises:
            ValueError: if not exactly one of ids and embeddings is given, or placeholders and visual tokens differ.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        embeddings: torch.Tensor = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        encoded = (mm_encoder_outputs or {}).get("image")
        if encoded is None and vision_tokens is not None:
            encoded = BaseModelOutputWithPooling(vision_tokens, pooler_output=self.connector(vision_tokens))
        elif encoded is None and pixel_values is not None:
            encoded = self.get_image_features(pixel_values, return_dict=True)
        if encoded is not None:
            features: torch.Tensor = encoded.pooler_output  # type: ignore[assignment] # `get_image_features` sets it
            embeddings = self.insert_image_features(input_ids, embeddings, features)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=embeddings,
            # Set here, not by the configuration: the output is read by name.
            **kwargs | _named_cache(past_key_values) | {"return_dict": True},
        )
        return ArgusModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=None if encoded is None else encoded.pooler_output,
        )


def _named_cache(past_key_values: Cache | None) -> dict[str, Cache]:
    """Return a given cache by its name; from transformers 5.24 on it comes and goes among the others, as `cache`."""
    return {} if past_key_values is None else {"past_key_values": past_key_values}


def without_token(config: GenerationConfig | None, token: int) -> GenerationConfig | None:
    """Return a generation configuration that suppresses a token; the one passed in is not changed."""
    if config is None:
        return config
    given = [] if config.suppress_tokens is None else [int(other) for other in config.suppress_tokens]
    if token in given:
        return config
    config = copy.deepcopy(config)
    config.suppress_tokens = [*given, token]
    return config


class ArgusForConditionalGeneration(ArgusPreTrainedModel, GenerationMixin):
    """Argus with its output layer: writes a report from a CT volume and an instruction."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: ArgusConfig):
        super().__init__(config)
        self.model = ArgusModel(config)
        text = config.get_text_config()
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    @property
    def generation_config(self) -> GenerationConfig:
        """Return the settings of report generation, which always suppress the placeholder token."""
        return self._generation_config  # type: ignore[return-value] # None only until transformers gives it

    @generation_config.setter
    def generation_config(self, config: GenerationConfig | None):
        self._generation_config = without_token(config, self.config.image_token_id)

    def _prepare_generation_config(self, generation_config: GenerationConfig | None, **kwargs):
        # The mixin states what `self` must be more narrowly than its own models are.
        config, model_kwargs = super()._prepare_generation_config(generation_config, **kwargs)  # type: ignore[misc]
        if config.prefill_chunk_size is not None:
            require_version("transformers>=5.23", "Older ones leave the image out of a prompt that is read in chunks.")
        # A call's own configuration or `suppress_tokens` replaces the model's, so the token is suppressed again here:
        # a placeholder that is generated, or proposed by an assistant or from the prompt, stands for no scan.
        return without_token(config, self.config.image_token_id), model_kwargs

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer."""
        return self.lm_head

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """Encode volumes; see `ArgusModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        vision_tokens: torch.Tensor | None = None,
        **kwargs,
    ) -> ArgusCausalLMOutputWithPast:
        """Run the model; arguments as in `ArgusModel.forward`, and `labels` and `logits_to_keep`.

        Args:
            input_ids: `(B, L)` token ids.
            pixel_values: `(B, 1, D, H, W)` in [0, 1].
            attention_mask: `(B, L)`, 1 keeps and 0 hides.
            position_ids: `(B, L)` positions.
            past_key_values: key-value cache.
            inputs_embeds: `(B, L, hidden_size)` in place of `input_ids`.
            labels: `(B, L)` token ids to learn, -100 where nothing is learned; placeholders are ignored too.
            logits_to_keep: number of last positions that get logits, or their indices; 0 means all.
            mm_encoder_outputs: encoded volumes in place of `pixel_values`.
            vision_tokens: the vision tower's tokens in place of `pixel_values`.
            **kwargs: handed to the language model and the loss.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            vision_tokens=vision_tokens,
            **kwargs | _named_cache(past_key_values) | {"return_dict": True},
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            # A placeholder is never part of a report: positions labelled with it are ignored in the loss.
            learned = labels.masked_fill(labels == self.config.image_token_id, -100)
            loss = self.loss_function(
                logits=logits, labels=learned, vocab_size=self.config.get_text_config().vocab_size, **kwargs
            )
        return ArgusCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )

    def save_pretrained(self, save_directory, **kwargs):
        """Save weights (safetensors), configuration and the code that loads them where Argus is not installed.

        Weights are in files of at most 5 GB, so that an interrupted upload or download repeats little.
        """
        kwargs.setdefault("max_shard_size", "5GB")
        # The folders that tower and language model came from are of this machine only; their name may be private.
        self.config.vision_config.name_or_path = self.config.text_config.name_or_path = ""
        # A class has one `_auto_class`; AutoModel must load this class too, so that its model can generate.
        loaded_too = dict.fromkeys(
            ("AutoModel", "AutoModelForMultimodalLM"), "modeling_argus.ArgusForConditionalGeneration"
        )
        self.config.auto_map = (getattr(self.config, "auto_map", None) or {}) | loaded_too
        return super().save_pretrained(save_directory, **kwargs)


ArgusConfig.register_for_auto_class("AutoConfig")
ArgusForConditionalGeneration.register_for_auto_class("AutoModelForImageTextToText")
