"""Odd values in every setting of a model folder: refused when it is loaded, or of no consequence for a scan."""

import json
import random
import time

import hostile_folders as hostile
import pytest
from hostile_folders import config, setting
from odd_values import ODD, places_in, with_odd

from argus_inference.model_folder import load_model
from argus_inference.scan_reports import ScanReport, write_reports
from argus_processing.failures import explain

FILES = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json")
# What folders may have beside what ours say.
BESIDE = {
    "config.json": ["quantization_config", "id2label", "to_dict", "text_config.rope_parameters.factor"],
    "generation_config.json": [
        *("top_k", "temperature", "max_length", "min_new_tokens", "bad_words_ids", "stop_strings", "num_beams"),
        *("penalty_alpha", "dola_layers", "guidance_scale", "validate", "sequence_bias", "watermarking_config"),
        *("cache_implementation", "return_dict_in_generate", "repetition_penalty"),
    ],
    "processor_config.json": ["chat_template", "image_processor.do_resize", "image_processor.fetch_images"],
    "tokenizer_config.json": ["truncation", "max_length", "padding_side", "added_tokens_decoder"],
}


def generation(key, to):
    return setting("generation_config.json", key, to=to)


def image_processor(key, to):
    return setting("processor_config.json", "image_processor", key, to=to)


LATE = {
    "top_k": generation("top_k", "abc"),
    "eos_token_id": generation("eos_token_id", "x"),
    "eos_token_id of no vocabulary": generation("eos_token_id", 10**6),
    "eos_token_id of nothing": generation("eos_token_id", None),
    "suppress_tokens": generation("suppress_tokens", [3, 10**6]),
    "bad_words_ids": generation("bad_words_ids", [1, 2]),
    "max_length": generation("max_length", -5),
    "min_new_tokens": generation("min_new_tokens", 10**6),
    "temperature": generation("temperature", float("nan")),
    "stop_strings": generation("stop_strings", ["a"] * 100_000),
    "stop_strings of one": generation("stop_strings", ["a"]),
    "dola_layers": generation("dola_layers", "high"),
    "cache_implementation": generation("cache_implementation", "offloaded"),
    "_eos_token_tensor": generation("_eos_token_tensor", 1),
    "update": generation("update", "x"),
    "hu_window": image_processor("hu_window", [-1e308, 1e308]),
    "hu_window reversed": image_processor("hu_window", [1000.0, -1000.0]),
    "hu_window of one": image_processor("hu_window", [0.0, 1e-300]),
    "value_range": image_processor("value_range", [0.0, 1e308]),
    "image_size": image_processor("image_size", [33, 64, 64]),
    "image_size of the vision": config("vision_config", "image_size", to=[33, 64, 64]),
    "quant_method": config("quantization_config", to={"load_in_4bit": True}),
    "quant_method unknown": config("quantization_config", to={"quant_method": "mine"}),
    "quantization_config": config("text_config", "quantization_config", to="bitsandbytes"),
    "llm_int8_threshold": config(
        "quantization_config", to={"quant_method": "bitsandbytes", "llm_int8_threshold": "abc"}
    ),
    "voxel_std": config("vision_config", "voxel_std", to=1e300),
    "voxel_std below zero": config("vision_config", "voxel_std", to=-1),
    "voxel_mean": config("vision_config", "voxel_mean", to=1e308),
    "rope_theta": config("text_config", "rope_parameters", "rope_theta", to=1e308),
    "id2label": config("id2label", to={str(number): "x" for number in range(100_000)}),
    "id2label of numbers": config("id2label", to={"0": 1}),
    "num_labels": config("num_labels", to=1 << 23),
    "added_tokens": setting(
        "tokenizer.json", "added_tokens", to=[{"id": number, "content": f"<{number}>"} for number in range(60_000)]
    ),
    "pad_token": setting("tokenizer_config.json", "pad_token", to="abc"),
    "max_position_embeddings": config("text_config", "max_position_embeddings", to=-1),
    "num_tokens": config("vision_config", "num_tokens", to=7),
    "get_text_config": config("get_text_config", to="x"),
}


@pytest.mark.parametrize("name", LATE)
def test_what_only_a_scan_would_show_is_refused_at_loading(model_dir, tmp_path, capfd, name):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    LATE[name](folder)
    started = time.monotonic()
    with pytest.raises(ValueError) as error:
        load_model(folder)
    assert time.monotonic() - started < 5
    said = str(error.value)
    assert said.startswith(str(folder)) and "\n" not in said and len(said.replace(str(folder), "")) < 300
    told = capfd.readouterr()
    assert "{" not in told.out + told.err
    assert name.split()[0] in said or name.startswith(("image_size", "pad_token")), said


def test_the_report_command_ends_before_it_reads_a_scan(argus, model_dir, tmp_path):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    LATE["stop_strings"](folder)
    (tmp_path / "scan.nii.gz").write_bytes(b"no scan")
    code, out, err = argus("report", tmp_path / "scan.nii.gz", "--model", folder)
    lines = [line for line in err.splitlines() if "medical device" not in line]
    assert code == 2 and not out and len(lines) == 1
    assert "stop_strings must be left out, got a list of 100,000 entries" in lines[0]


@pytest.mark.parametrize("file", FILES)
def test_odd_values_are_refused_in_a_line_or_a_report_is_written(model_dir, scans, tmp_path, file):
    folder = hostile.copy_folder(model_dir, tmp_path / "model")
    content = json.loads((folder / file).read_text())
    beside = [tuple(name.split(".")) for name in BESIDE[file]]
    cases = [(place, odd) for place in [*places_in(content), *beside] for odd in ODD]
    for place, odd in random.Random(file).sample(cases, 12):
        (folder / file).write_text(with_odd(content, place, odd))
        try:
            model, processor = load_model(folder)
        except (ValueError, OSError) as error:
            assert "\n" not in explain(error) and len(explain(error)) < 600, (place, odd)
            continue
        [report] = write_reports(model, processor, scans[:1], max_new_tokens=2)
        assert isinstance(report, ScanReport), (place, odd, report)
