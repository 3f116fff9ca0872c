import pytest

from argus_processing.chat_templates import chat_template_for
from argus_processing.saved_models.chat_template_check import check_template
from argus_processing.storage.foreign_files import ForeignFileError

LLAMA = chat_template_for({"<|start_header_id|>": 0, "<|eot_id|>": 1}, "<image>")[0]
CHATML = chat_template_for({"<|im_start|>": 0, "<|im_end|>": 1}, "<image>")[0]
# Llama 3's own.
PUBLISHED = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MARKED = (
    "{%- if messages[0].role == 'system' -%}{{ messages[0].content }}{%- set messages = messages[1:] -%}{%- endif -%}"
    "{%- for message in messages -%}{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('turns alternate') }}{%- endif -%}"
    "{%- if message.role == 'assistant' -%}{% generation %}{{ message.content }}{% endgeneration %}{%- endif -%}"
    "{%- endfor -%}{{ strftime_now('%d %b %Y') }}"
)


# Qwen 3's ways with tools and thoughts.
TOOLS = (
    "{%- for tool in tools -%}{{ tool | tojson }}{%- endfor -%}"
    "{%- for message in messages -%}{%- set content = message.content.split('</think>')[-1].lstrip('\n') -%}"
    "{{ content }}{{ message.content.split('</think>')|first }}{{ message.tool_calls[0].arguments | tojson }}"
    "{%- endfor -%}"
)


@pytest.mark.parametrize(
    "template", [LLAMA, CHATML, PUBLISHED, MARKED, TOOLS, None, {"default": LLAMA, "other": PUBLISHED}]
)
def test_templates_of_conversations_are_taken(template):
    check_template(template, "folder")


HOSTILE = {
    "counts": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "product": "{{ 'a' * 10 ** 10 }}",
    "letters": "{% for a in 'abcdefgh' %}{% for b in 'abcdefgh' %}{% endfor %}{% endfor %}",
    "same text": "{% for a in messages[0].content %}{% for b in messages[0].content %}{% endfor %}{% endfor %}",
    "through a macro": "{% macro f(m) %}{% for p in m %}{% endfor %}{% endmacro %}"
    "{% for a in messages[0].content %}{{ f(messages[0].content) }}{% endfor %}",
    "three deep": "{% macro f(m) %}{% for p in m %}{% endfor %}{% endmacro %}"
    "{% for a in messages %}{% for b in a.content %}{{ f(b) }}{% endfor %}{% endfor %}",
    "doubling": "{% set x = 'aaaaaaaa' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "doubling by turns": "{% set x = 'a' %}" + "{% set y = x ~ x %}{% set x = y ~ y %}" * 30 + "{{ x }}",
    "doubling macro": "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}" + "{{ " + "d(" * 40 + "'a'" + ")" * 40 + " }}",
    "doubling by a macro": "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{% set x = 'a' %}" + "{% set x = d(x) %}" * 60,
    "own conversation": "{% set messages = 'a' ~ 'b' %}{% for m in messages %}{% endfor %}",
    "recursive macro": "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "recursive loop": "{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "width": "{{ '%999999999d' % 1 }}",
    "width of a date": "{{ strftime_now('%999999999d') }}",
    "centred": "{{ 'a' | center(10 ** 9) }}",
    "justified": "{{ 'a'.ljust(1000000000) }}",
    "joined": "{{ messages[0].content | join(messages[0].content) }}",
    "words": "{{ lipsum(n=1000000) }}",
    "namespace that grows": "{% set n = namespace(x='a') %}{% for m in messages %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "namespace of what comes": "{% set ns = namespace(x=messages) %}",
    "namespace unpacked": "{% set ns = namespace(**messages[0]) %}",
    "loop over a namespace": "{% set n = namespace(x='aa') %}{% for a in n.x %}{% for b in n.x %}"
    "{% endfor %}{% endfor %}",
    "escaped again": "{% set x = '\"' %}" + "{% set x = x | tojson %}" * 40 + "{{ x }}",
    "escaped at once": "{{ bos_token" + " | tojson" * 40 + " }}",
    "escaped in turns": "{% set x = '\"' %}" + "{% set y = x | tojson %}{% set x = y | tojson %}" * 20,
    "lists written": "{% set x = '\\\\' %}" + "{% set x = x.split('q') | string %}" * 40 + "{{ x }}",
    "lists joined to texts": "{{ " + "(" * 40 + "'\\\\'" + ".split('q') ~ '')" * 40 + " }}",
    "slices of lists": "{% set x = '\\\\' %}" + "{% set x = x.split('q')[0:] ~ '' %}" * 40 + "{{ x }}",
    "include": "{% include '/etc/passwd' %}",
    "block": "{% set x %}a{% endset %}",
    "unwound": "{% macro f(x) %}" + "{{ x }}" * 1000 + "{% endmacro %}" + "{{ f(1) }}" * 1000,
    "long": "x" * 40_000,
    "deep": "{% if " + "(" * 3000 + "1" + ")" * 3000 + " %}{% endif %}",
    "syntax": "{% for %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_that_could_run_on_is_refused_unrun(name):
    with pytest.raises(ForeignFileError) as error:
        check_template(HOSTILE[name], "folder")
    assert str(error.value).startswith("folder: its chat template is") and "\n" not in str(error.value)
