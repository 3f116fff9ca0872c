import json
from pathlib import Path

import datasets
import pytest

from argus_evaluation.benchmark.controls import blank_image
from argus_inference import generation
from argus_inference.generation import TransformersBatches, generate_batch, generate_reports
from argus_inference.predictions_file import part_of
from argus_inference.processes import Processes
from argus_processing.instructions import INSTRUCTION, INSTRUCTIONS

SETTINGS = {"model_hash": "abc"}
OPTIONS = {"settings": SETTINGS, "batch_size": 2, "max_new_tokens": 6}


def run(loaded, split, out, **changes):
    return generate_reports(TransformersBatches(*loaded), split, out, **{**OPTIONS, **changes})


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Phantoms for which the untrained model writes four texts, so that no two can be taken for one another."""
    cache = tmp_path_factory.mktemp("four_texts")
    options = {"num_train": 3, "num_validation": 1, "num_test": 4, "spacing_mm": (12.0, 8.0, 8.0), "seed": 1}
    return datasets.load_dataset("ct3drrg", "phantom", cache_dir=str(cache), **options)


@pytest.fixture(scope="module")
def scans(phantoms):
    test = phantoms["test"].cast_column("image", datasets.Nifti(decode=False))
    return [Path(image["path"]) for image in test["image"]]


@pytest.fixture(scope="module")
def whole(loaded, phantoms, tmp_path_factory):
    """The predictions file of a run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "predictions.jsonl"
    run(loaded, phantoms["test"].cast_column("image", datasets.Nifti(decode=False)), out)
    return out


def test_lines_hold_the_split_in_order_with_its_references(whole, split):
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    assert [line["scan_id"] for line in lines] == split["scan_id"][:]
    assert [line["reference"] for line in lines] == split["report"][:]
    assert len({line["prediction"] for line in lines} - {""}) == len(lines)  # the tests below compare real texts
    assert set(lines[0]) == {"scan_id", "prediction", "reference", "num_tokens", "truncated"}


def test_a_batch_gives_what_each_scan_gives_alone(loaded, scans):
    instructions = [INSTRUCTION, INSTRUCTIONS[20]]  # of different lengths, so that one is padded
    together = generate_batch(*loaded, scans[:2], instructions, 6)
    alone = [generate_batch(*loaded, [scan], [text], 6)[0] for scan, text in zip(scans[:2], instructions, strict=True)]
    assert together == alone


def test_generation_is_the_public_chat_call(loaded, scans):
    model, processor = loaded
    content = [{"type": "image", "path": str(scans[0])}, {"type": "text", "text": INSTRUCTIONS[3]}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    tokens = model.generate(**inputs, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(tokens, skip_special_tokens=True).removesuffix("\ufffd").strip()
    assert generate_batch(model, processor, [scans[0]], [INSTRUCTIONS[3]], 6)[0].text == expected


@pytest.mark.parametrize("cut", ["after 1 line", "after 3 lines", "inside line 3", "at 0", "none"])
def test_an_interrupted_run_ends_with_the_same_file(loaded, split, whole, tmp_path, cut):
    content = whole.read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    keep = {"after 1 line": ends[0], "after 3 lines": ends[2], "inside line 3": ends[1] + 20, "at 0": 0}
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(content[: keep.get(cut, len(content))])
    sidecar = whole.with_name(whole.name + ".settings.json")
    (tmp_path / sidecar.name).write_bytes(sidecar.read_bytes())
    run(loaded, split, out)
    assert out.read_bytes() == content


def test_a_run_that_dies_keeps_its_finished_batches(loaded, split, whole, tmp_path):
    out = tmp_path / "predictions.jsonl"
    doomed = split["scan_id"][2]

    def image_of(example):
        if example["scan_id"] == doomed:
            raise KeyboardInterrupt
        return generation.image_of_scan(example)

    with pytest.raises(KeyboardInterrupt):
        run(loaded, split, out, image_of=image_of)
    assert len(out.read_text().splitlines()) == 2
    run(loaded, split, out)
    assert out.read_bytes() == whole.read_bytes()


def test_finished_lines_are_not_generated_again(loaded, split, whole):
    def image_of(example):
        raise AssertionError("a finished scan was read again")

    assert [line.scan_id for line in run(loaded, split, whole, image_of=image_of)] == split["scan_id"][:]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"model_hash": "other"}}, "model_hash"),
        ({"max_new_tokens": 7}, "max_new_tokens"),
        ({"instruction": INSTRUCTIONS[1]}, "instruction"),
    ],
)
def test_another_models_or_settings_file_is_refused_untouched(loaded, split, whole, changes, named):
    before = whole.read_bytes()
    with pytest.raises(ValueError, match=rf"predictions\.jsonl: was made with other settings \({named}"):
        run(loaded, split, whole, **changes)
    assert whole.read_bytes() == before


def test_another_data_set_is_refused(loaded, split, whole):
    with pytest.raises(ValueError, match=r"other settings \(dataset"):
        run(loaded, split.select([0, 1]), whole)


def test_a_file_of_unknown_origin_is_refused(loaded, split, tmp_path):
    (tmp_path / "predictions.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"has no predictions\.jsonl\.settings\.json"):
        run(loaded, split, tmp_path / "predictions.jsonl")


def test_a_broken_line_is_named_and_the_file_left_as_it_is(loaded, split, whole, tmp_path):
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(whole.read_bytes()[:-20] + b"\nhalf a li")
    sidecar = whole.with_name(whole.name + ".settings.json")
    (tmp_path / sidecar.name).write_bytes(sidecar.read_bytes())
    before = out.read_bytes()
    said = rf"predictions\.jsonl: line {len(split)} is not a prediction \(.*; give another"
    with pytest.raises(ValueError, match=said):
        run(loaded, split, out)
    assert out.read_bytes() == before


def test_repeated_scan_ids_are_refused(loaded, split, tmp_path):
    with pytest.raises(ValueError, match="comes twice"):
        run(loaded, split.select([0, 1, 0]), tmp_path / "predictions.jsonl")


def test_all_scans_get_the_papers_instruction_or_another_that_is_given(loaded, split, scans, whole, tmp_path):
    def alone(text: str) -> list[str]:
        return [generate_batch(*loaded, [scan], [text], 6)[0].text for scan in scans]

    asked = run(loaded, split, tmp_path / "predictions.jsonl", instruction=INSTRUCTIONS[20])
    assert [line.prediction for line in asked] == alone(INSTRUCTIONS[20])
    usual = [json.loads(line)["prediction"] for line in whole.read_text().splitlines()]
    assert usual == alone(INSTRUCTION) != alone(INSTRUCTIONS[20])


def test_a_control_image_takes_the_scans_place(loaded, split, tmp_path):
    lines = run(loaded, split, tmp_path / "blank.jsonl", image_of=blank_image)
    alone = generate_batch(*loaded, [blank_image({})], [INSTRUCTION], 6)[0]
    assert {line.prediction for line in lines} == {alone.text}


def test_a_report_ends_at_its_end_token_or_is_truncated(loaded):
    _, processor = loaded
    words = processor.tokenizer.encode("No lung nodule.", add_special_tokens=False)
    end, pad = processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id
    ended = generation.decode_report(processor, [*words, end, pad, pad], {end})
    cut = generation.decode_report(processor, words, {end})
    assert (ended.text, ended.num_tokens, ended.truncated) == ("No lung nodule.", len(words), False)
    assert (cut.text, cut.num_tokens, cut.truncated) == ("No lung nodule.", len(words), True)
    assert generation.decode_report(processor, [end], {end}) == generation.Generated("", 0, False)


def test_half_a_letter_at_the_limit_is_left_out(loaded):
    _, processor = loaded
    tokens = processor.tokenizer.encode("Lung 肺", add_special_tokens=False)
    assert [processor.tokenizer.decode(tokens[:-cut])[-1] for cut in (1, 2)] == ["\ufffd", "\ufffd"]
    assert [generation.decode_report(processor, tokens[:count], {-1}).text for count in (-2, -1, None)] == [
        "Lung",
        "Lung",
        "Lung 肺",
    ]


class Unjoined(Processes):
    """A process of several that waits for nobody, and is killed when its share is done."""

    waits = 0

    def gather(self, value):
        Unjoined.waits += 1
        if Unjoined.waits % 3 == 0:
            raise ConnectionError("killed")
        return [value] * self.count


def run_killed(loaded, split, out, count, **changes):
    for rank in range(count):
        with pytest.raises(ConnectionError):
            run(loaded, split, out, processes=Unjoined(rank, count), **changes)


def test_processes_share_whole_batches_each_once(loaded, split, tmp_path):
    out, ids = tmp_path / "predictions.jsonl", split["scan_id"][:]
    run_killed(loaded, split, out, 2)
    written = [[json.loads(line)["scan_id"] for line in part_of(out, rank).open()] for rank in range(2)]
    assert written == [ids[:2], ids[2:]] and not out.exists()


@pytest.mark.parametrize("counts", [(3,), (2, 3), (1, 3)])
def test_processes_of_any_number_end_with_the_file_of_one(loaded, split, whole, tmp_path, counts):
    out = tmp_path / "predictions.jsonl"
    for count in counts:
        run_killed(loaded, split, out, count, batch_size=1)
        # What the last process wrote last is lost.
        last = out if count == 1 else part_of(out, count - 1)
        last.write_bytes(last.read_bytes()[:-20])
    assert [line.scan_id for line in run(loaded, split, out)] == split["scan_id"][:]
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f"{out.name}.settings.json"]


def test_another_models_lines_of_several_processes_are_refused(loaded, split, tmp_path):
    out = tmp_path / "predictions.jsonl"
    run_killed(loaded, split, out, 2)
    with pytest.raises(ValueError, match="other settings"):
        run(loaded, split, out, settings={"model_hash": "other"})
    assert part_of(out, 0).read_text() and part_of(out, 1).read_text()


def test_volumes_of_a_cache_are_read_in_place_of_scans(loaded, split, tmp_path, monkeypatch):
    cached = {"volume_cache": tmp_path / "cache", "image_of": generation.row_of_scan}
    first = run(loaded, split, tmp_path / "first.jsonl", **cached)
    assert len(list((tmp_path / "cache").rglob("*.planes"))) == len(split)

    def refuse(*arguments, **options):
        raise AssertionError("a scan was read")

    monkeypatch.setattr("argus_processing.image_processing_argus.read_ct_row", refuse)
    monkeypatch.setattr("argus_processing.image_processing_argus.read_ct", refuse)
    assert run(loaded, split, tmp_path / "second.jsonl", **cached) == first
