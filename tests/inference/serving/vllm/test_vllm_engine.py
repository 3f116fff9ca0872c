"""The options and arguments of vLLM, without vLLM: `make test-vllm` tries the rest."""

from importlib.util import find_spec

import pytest

from argus_inference.model_folder import Loading
from argus_inference.serving.vllm.vllm_engine import (
    TEXT_TOKENS,
    VllmOptions,
    adapter_request,
    check_known,
    engine_arguments,
    parse_engine_options,
)


def test_options_are_numbers_words_and_objects():
    given = ["max_num_seqs=64", "--kv-cache-dtype=fp8", 'compilation_config={"level": 0}', "enforce_eager=true"]
    parsed = {"max_num_seqs": 64, "kv_cache_dtype": "fp8", "compilation_config": {"level": 0}, "enforce_eager": True}
    assert parse_engine_options(given) == parsed


@pytest.mark.parametrize("given", [["max_num_seqs"], ["=3"], ["a=1", "a=2"]])
def test_an_option_without_name_or_value_is_refused(given):
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_engine_options(given)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean max_num_seqs"):
        check_known({"max_num_seq": 3}, ["max_num_seqs", "seed"])


def test_the_engine_is_told_of_one_scan_and_safetensors_only(model_dir, loaded):
    arguments = engine_arguments(model_dir, VllmOptions())
    assert arguments["limit_mm_per_prompt"] == {"image": 1} and arguments["load_format"] == "safetensors"
    assert arguments["trust_remote_code"] is False and arguments["enable_lora"] is False
    positions = loaded[0].config.get_text_config().max_position_embeddings
    assert arguments["max_model_len"] == min(positions, loaded[1].num_image_tokens + TEXT_TOKENS)


def test_what_is_given_comes_last(model_dir):
    options = VllmOptions(Loading(dtype="bfloat16"), given={"max_num_seqs": 5, "max_model_len": 77})
    arguments = engine_arguments(model_dir, options)
    assert (arguments["dtype"], arguments["max_num_seqs"], arguments["max_model_len"]) == ("bfloat16", 5, 77)


@pytest.mark.parametrize("loading", [Loading(bits=8), Loading(bits=4), Loading(static_cache=True)])
def test_what_vllm_does_not_do_is_refused(model_dir, loading):
    with pytest.raises(ValueError, match="vLLM"):
        engine_arguments(model_dir, VllmOptions(loading))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path):
    assert adapter_request(None) is None
    with pytest.raises(FileNotFoundError, match="no adapter_config.json"):
        VllmOptions(adapter=tmp_path)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
@pytest.mark.parametrize("command", [("serve", "--model"), ("evaluate", "out", "--model")])
def test_without_vllm_the_command_says_how_to_get_it(argus, model_dir, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, told = argus(*command, model_dir, "--engine", "vllm")
    assert code == 2 and "pip install '.[vllm]'" in told and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [("--engine-option", "seed=1"), ("--adapter", "folder")])
def test_options_of_vllm_belong_to_it(argus, model_dir, option):
    code, _, told = argus("serve", "--model", model_dir, *option)
    assert code == 2 and "--engine vllm" in told
