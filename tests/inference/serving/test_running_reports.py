"""Reports that are written together are those that are written alone."""

import asyncio
import threading

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from argus_inference.generation import end_tokens, generate_batch, inputs_of, prompt_of
from argus_inference.serving.running_reports import RunningReports, can_run_together
from argus_inference.serving.serve_requests import ReportRequest
from argus_inference.serving.serve_writing import ReportWriter, WritingError
from argus_processing import read_ct
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS

LIMIT = 40


@pytest.fixture(scope="module")
def asked(loaded, scans):
    """Inputs of several lengths."""
    processor = loaded[1]
    texts = [INSTRUCTIONS[number % 3] for number in range(len(scans))]
    return [inputs_of(processor, [prompt_of(processor, text)], [scan]) for text, scan in zip(texts, scans, strict=True)]


def write_alone(model, asked) -> list[list[int]]:
    """Return the tokens of each report as `generate` writes them."""
    with torch.inference_mode():
        rows = [model.generate(**inputs, max_new_tokens=LIMIT, do_sample=False)[0] for inputs in asked]
    return [row[inputs["input_ids"].shape[1] :].tolist() for row, inputs in zip(rows, asked, strict=True)]


def write_together(model, asked, every: int = 3) -> list[list[int]]:
    """Begin a report every few steps, and end each when it is over."""
    together, waiting, begun = RunningReports(model, end_tokens(model)), list(asked), []
    steps = 0
    while waiting or together.reports:
        if waiting and steps % every == 0:
            begun.append(together.begin(waiting.pop(0), LIMIT))
        together.end([report for report in together.reports if report.is_over()])
        if together.reports:
            together.step()
        steps += 1
    return [report.tokens for report in begun]


def test_prompts_have_several_lengths(asked):
    assert len({inputs["input_ids"].shape[1] for inputs in asked}) > 1


@pytest.mark.parametrize("every", [1, 3, 17])
def test_tokens_together_are_those_alone(loaded, asked, every):
    assert write_together(loaded[0], asked, every) == write_alone(loaded[0], asked)


def test_what_the_configuration_asks_for_holds_together_too(loaded, asked, monkeypatch):
    plain = write_alone(loaded[0], asked)
    monkeypatch.setattr(loaded[0].generation_config, "repetition_penalty", 1.7)
    assert write_together(loaded[0], asked) == write_alone(loaded[0], asked) != plain


def test_a_report_that_is_taken_out_changes_no_other(loaded, asked):
    together, model = RunningReports(loaded[0], end_tokens(loaded[0])), loaded[0]
    first, second, third = (together.begin(inputs, LIMIT) for inputs in asked[:3])
    together.step()
    together.end([first])
    while not (second.is_over() and third.is_over()):
        together.step()
    assert [second.tokens[:LIMIT], third.tokens[:LIMIT]] == write_alone(model, asked)[1:3]
    assert len(first.tokens) == 2 and end_tokens(model) == first.ends


def test_a_step_that_fails_can_be_taken_again(loaded, asked):
    model = loaded[0]
    together = RunningReports(model, end_tokens(model))
    begun = [together.begin(inputs, LIMIT) for inputs in asked[:2]]

    def fail(*_) -> None:
        raise MemoryError

    hook = model.model.language_model.layers[-1].register_forward_pre_hook(fail)  # earlier layers have taken the keys
    with pytest.raises(MemoryError):
        together.step()
    hook.remove()
    while not all(report.is_over() for report in begun):
        together.step()
    assert [report.tokens for report in begun] == write_alone(model, asked[:2])


def test_inputs_made_beside_the_model_are_those_of_the_processor(loaded, scans, asked):
    writer = ReportWriter(*loaded, name="argus-tiny")
    made = writer.prepare(read_ct(scans[1]), ReportRequest("file:///x", INSTRUCTIONS[1]))
    assert set(made) == set(asked[1])
    assert all(torch.equal(made[name], asked[1][name]) for name in made)


async def report_of(writer, inputs, **options):
    wanted = ReportRequest("file:///x", INSTRUCTION, LIMIT, **options)
    return [part async for part in writer.words(inputs, wanted, threading.Event())]


@pytest.mark.parametrize("places", [1, 2, 16])
def test_many_at_once_get_their_own_reports(loaded, scans, asked, places):
    model, processor = loaded
    writer = ReportWriter(*loaded, name="argus-tiny", places=places)
    sizes = []
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    streams = [number % 2 == 0 for number in range(len(asked))]

    async def all_at_once():
        each = [report_of(writer, inputs, stream=stream) for inputs, stream in zip(asked, streams, strict=True)]
        return await asyncio.gather(*each)

    answers = asyncio.run(all_at_once())
    hook.remove()
    writer.close()
    expected = [
        generate_batch(model, processor, [scan], [INSTRUCTIONS[number % 3]], LIMIT)[0]
        for number, scan in enumerate(scans)
    ]
    assert [parts[-1] for parts in answers] == expected
    assert max(sizes) == min(places, len(asked))
    told = ["".join(parts[:-1]).strip() for parts in answers]
    assert told == [report.text if stream else "" for report, stream in zip(expected, streams, strict=True)]


def test_without_memory_for_all_the_last_one_is_given_up(loaded, asked):
    model = loaded[0]
    writer = ReportWriter(*loaded, name="argus-tiny")

    def fail_beside_others(module, inputs) -> None:
        if len(inputs[0]) > 2:
            raise MemoryError

    hook = model.lm_head.register_forward_pre_hook(fail_beside_others)

    async def all_at_once():
        return await asyncio.gather(*(report_of(writer, inputs) for inputs in asked[:3]), return_exceptions=True)

    answers = asyncio.run(all_at_once())
    hook.remove()
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [str(error) for error in failed] == ["MemoryError"] and isinstance(failed[0], WritingError)
    written = [answer[-1] for answer in answers if not isinstance(answer, BaseException)]
    assert len(written) == 2 and all(report.text for report in written)


def test_static_caches_and_sliding_windows_are_written_alone(loaded, monkeypatch):
    model = loaded[0]
    assert can_run_together(model)
    monkeypatch.setattr(model.generation_config, "cache_implementation", "static")
    assert not can_run_together(model) and ReportWriter(*loaded, name="argus-tiny").places == 1
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 32}
    sliding = LlamaConfig(num_hidden_layers=2, layer_types=["full_attention", "sliding_attention"], **sizes)
    sliding.sliding_window = 4
    assert not can_run_together(LlamaForCausalLM(sliding))
