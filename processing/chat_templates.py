"""Choose the chat template for a family of language models, with image placeholders."""

# `image_token` is written once per image; ArgusProcessor repeats it for every visual token. Texts that follow each
# other are put on separate lines, so that two words are never joined.
_CONTENT = (
    "{%- macro content_of(message) -%}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- else -%}{%- set before = namespace(text=false) -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}IMAGE_TOKEN{%- set before.text = false -%}"
    "{%- elif part['type'] == 'text' -%}"
    "{%- if part['text'] | trim -%}{{- '\n' if before.text }}{{- part['text'] | trim -}}{%- set before.text = true -%}"
    "{%- endif -%}"
    "{%- else -%}{{- raise_exception('a message holds parts of type image and text, got ' ~ part['type']) -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- endmacro -%}"
)
# The text between the marks `generation` is what an assistant's turn trains, its end included (`assistant_only_loss`).
_LLAMA_3 = (
    "{{- bos_token }}"
    "{%- for message in messages -%}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- content_of(message) + '<|eot_id|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- content_of(message) + '<|eot_id|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif -%}"
)
_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- content_of(message) + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- content_of(message) + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' }}{%- endif -%}"
)

# token that shows the family -> (token that ends a turn, template)
_FAMILIES = {"<|start_header_id|>": ("<|eot_id|>", _LLAMA_3), "<|im_start|>": ("<|im_end|>", _CHATML)}


def chat_template_for(vocabulary: dict[str, int], image_token: str) -> tuple[str, str]:
    """Choose the chat template for a tokenizer's vocabulary.

    Args:
        vocabulary: token to id.
        image_token: the placeholder that stands for an image.

    Returns:
        The Jinja template and the token that ends a turn: labels include it, and generation stops at it.

    Raises:
        ValueError: if the vocabulary has the turn tokens of no known family.
    """
    for mark, (end_token, template) in _FAMILIES.items():
        if mark in vocabulary and end_token in vocabulary:
            return _CONTENT.replace("IMAGE_TOKEN", image_token) + template, end_token
    raise ValueError(f"the tokenizer has no chat marks that are known: {', '.join(_FAMILIES)}; use an instruct model")
