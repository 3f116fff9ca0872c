import pickle
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoProcessor, pipeline

from argus_processing import ArgusImageProcessor, ArgusProcessor, CTVolume
from argus_processing.chat_templates import chat_template_for

QUESTION = "Describe the scan."


def conversation(image) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image", "path": image}, {"type": "text", "text": QUESTION}]}]


@pytest.fixture(scope="module")
def processor(model_dir) -> ArgusProcessor:
    return AutoProcessor.from_pretrained(model_dir)


@pytest.fixture
def scan(scans) -> str:
    return str(scans[0])


def test_as_many_placeholders_as_visual_tokens_in_the_templates_text(processor, scan):
    inputs = processor.apply_chat_template(
        conversation(scan), tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    ids = inputs["input_ids"][0]
    assert (ids == processor.image_token_id).sum() == processor.num_image_tokens == 8
    assert (ids == processor.tokenizer.bos_token_id).sum() == 1
    text = processor.tokenizer.decode(ids).replace(processor.image_token, "")
    assert text == (
        f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{QUESTION}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert torch.equal(inputs["pixel_values"], processor.image_processor(scan)["pixel_values"])


def test_template_of_a_prompt_is_a_prefix_of_the_whole_conversation(processor):
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    whole = prompt + [{"role": "assistant", "content": [{"type": "text", "text": "No nodule."}]}]
    start = processor.apply_chat_template(prompt, add_generation_prompt=True)
    rendered = processor.apply_chat_template(whole)
    # The end of the assistant's turn is in the text, so the labels teach it.
    assert rendered == start + "No nodule.<|eot_id|>"


def test_batches_are_padded_on_the_left(processor, scan):
    texts = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
            add_generation_prompt=True,
        )
        for text in ("Report.", QUESTION * 4)
    ]
    inputs = processor(images=[[scan], [scan]], text=texts, padding=True, return_tensors="pt")
    assert inputs["attention_mask"][0, 0] == 0 and inputs["attention_mask"][:, -1].tolist() == [1, 1]
    assert inputs["pixel_values"].shape == (2, 1, 32, 64, 64)


def test_a_saved_processor_comes_back_the_same(processor, scan, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is ArgusProcessor
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is ArgusImageProcessor
    assert loaded.num_image_tokens == processor.num_image_tokens
    assert loaded.tokenizer.padding_side == "left"
    arguments = dict(tokenize=True, return_dict=True, return_tensors="pt")
    ours, theirs = (p.apply_chat_template(conversation(scan), **arguments) for p in (processor, loaded))
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])


def test_pipeline_takes_a_path(model_dir, scan):
    pipe = pipeline("image-text-to-text", model=str(model_dir))
    answer = pipe(conversation(scan), max_new_tokens=4, return_full_text=False)
    assert isinstance(answer[0]["generated_text"], str)


def test_folder_loads_in_a_process_without_argus_by_trust_remote_code(model_dir, scan, processor, tmp_path):
    """Argus is hidden from the process, so only what lies in the folder can be used."""
    expected = processor.apply_chat_template(
        conversation(scan), tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    torch.save(expected["input_ids"], tmp_path / "ids.pt")
    script = f"""
import sys
for name in ("argus_processing", "modeling_argus", "argus_training", "argus_evaluation"):
    sys.modules[name] = None
import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor
folder = {str(model_dir)!r}
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor.apply_chat_template({conversation(scan)!r}, tokenize=True, add_generation_prompt=True,
                                       return_dict=True, return_tensors="pt")
assert torch.equal(inputs["input_ids"], torch.load({str(tmp_path / "ids.pt")!r}))
texts = []
for auto_class in (AutoModel, AutoModelForImageTextToText):
    model = auto_class.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules")
    tokens = model.generate(**inputs, max_new_tokens=5)
    texts.append(tokens.tolist())
assert texts[0] == texts[1]
print("LOADED", texts[0][0][-5:])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=_environment(tmp_path)
    )
    assert "LOADED" in ran.stdout, ran.stderr[-2000:]


def _environment(home: Path) -> dict[str, str]:
    import os

    return os.environ | {"HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"text": "no placeholder", "images": ["x.nii.gz"]}, "0 image placeholder"),
        ({"text": "<|reserved_special_token_0|>"}, "0 image"),
        ({"text": [1, 2]}, "strings"),
        ({}, "at least one"),
        ({"text": "a", "videos": ["v.mp4"]}, "video"),
    ],
)
def test_what_cannot_be_matched_is_refused(processor, arguments, said):
    with pytest.raises(ValueError, match=said):
        processor(**arguments)


HOLDER = "<|reserved_special_token_0|>"


@pytest.mark.parametrize(
    ("images", "texts"),
    [
        ([["a", "b"], ["c"]], [HOLDER, HOLDER * 2]),
        ([["a", "b"], ["c"]], [HOLDER * 3]),
        ([["a"], ["b"]], [HOLDER * 2]),
        ([["a", "b"]], [HOLDER, HOLDER]),
        ([["a"], []], ["", HOLDER]),
        (["a", ["b"]], [HOLDER * 2, ""]),
        (["a", "b"], [HOLDER * 2, ""]),
        (("a", "b"), ["", HOLDER * 2]),
        ([[["a"], ["b"]], [["c"]]], [HOLDER, HOLDER * 2]),
    ],
)
def test_scans_of_another_samples_placeholders_are_refused(processor, images, texts):
    with pytest.raises(ValueError, match=r"sample \d: .* placeholder|sample\(s\) in lists"):
        processor(images=images, text=texts)


def test_scans_go_to_their_own_samples_in_every_grouping(processor, scans):
    one, two, three = map(str, scans[:3])
    expected = processor.image_processor([one, two, three])["pixel_values"]
    grouped = (
        ([[one, two], [three]], [HOLDER * 2, HOLDER]),
        ([one, two, three], [HOLDER * 2, HOLDER]),
        ([one, two, three], HOLDER * 3),
        ([[one, two, three]], HOLDER * 3),
        ([one, two, three], [HOLDER] * 3),
        ([[one], [two, three], []], [HOLDER, HOLDER * 2, "none"]),
        (datasets.Dataset.from_dict({"image": [one, two, three]})["image"], [HOLDER] * 3),
        (datasets.Dataset.from_dict({"images": [[one, two], [three]]})["images"], [HOLDER * 2, HOLDER]),
        (np.array([one, two, three], dtype=object), (HOLDER,) * 3),
    )
    for images, text in grouped:
        assert torch.equal(processor(images=images, text=text, padding=True)["pixel_values"], expected)


def test_unknown_options_are_refused_and_those_of_transformers_pass(processor, scan):
    for options in (
        {"retrun_tensors": "pt"},
        {"images_kwargs": {"retrun_tensors": "pt"}},
        {"fps": 2},
        {"videos_kwargs": {"fps": 2}},
        {"audio_kwargs": {"rate": 2}},
    ):
        with pytest.raises(ValueError, match="no such option"):
            processor(images=scan, text=HOLDER, **options)
    with pytest.raises(ValueError, match="part of the model"):
        processor(images=scan, text=HOLDER, resampling="direct")
    inputs = processor(
        images=scan,
        text=HOLDER,
        padding="longest",
        padding_side="right",
        pad_to_multiple_of=8,
        truncation=False,
        return_attention_mask=True,
        return_mm_token_type_ids=True,
        text_kwargs={"add_special_tokens": False},
        images_kwargs={"device": "cpu"},
        return_tensors="pt",
    )
    assert {"input_ids", "attention_mask", "pixel_values", "mm_token_type_ids"} <= set(inputs)


def test_labels_put_into_a_batch_teach_no_placeholder(processor, scan):
    for kind in ("pt", "np", None):
        batch = processor(images=scan, text=f"Report. {HOLDER} No nodule.", return_tensors=kind)
        batch["labels"] = batch["input_ids"]
        ids, labels = np.asarray(batch["input_ids"]), np.asarray(batch["labels"])
        assert (labels[ids == processor.image_token_id] == -100).all()
        assert (labels != -100).sum() == (ids != processor.image_token_id).sum() > 0
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301  our own bytes
    again["labels"] = batch["input_ids"]
    assert again["labels"] == batch["labels"]


def test_texts_of_one_message_are_lines_and_other_parts_are_refused(processor):
    parts = [{"type": "text", "text": "Report this."}, {"type": "text", "text": "  "}, {"type": "text", "text": "Now."}]
    user = {"role": "user", "content": [{"type": "image"}, *parts]}
    assert f"{HOLDER}Report this.\nNow.<|eot_id|>" in processor.apply_chat_template([user])
    with pytest.raises(Exception, match="parts of type image and text, got audio"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "audio"}]}])


@pytest.mark.parametrize(("mark", "end"), [("<|start_header_id|>", "<|eot_id|>"), ("<|im_start|>", "<|im_end|>")])
def test_generation_marks_hold_the_assistants_turns_and_their_ends(processor, mark, end):
    template, _ = chat_template_for({mark: 0, end: 1}, HOLDER)
    turns = [
        {"role": role, "content": f"{role} says."} for role in ("system", "user", "assistant", "user", "assistant")
    ]
    whole = processor.tokenizer.apply_chat_template(
        turns, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    taught = [token for token, is_taught in zip(whole["input_ids"], whole["assistant_masks"], strict=True) if is_taught]
    assert processor.tokenizer.decode(taught) == f"assistant says.{end}" * 2


def test_a_pipeline_call_with_pictures_is_refused_and_its_chat_taken(model_dir, scan):
    # `images=path` is opened as a picture by the pipeline itself, before Argus sees it.
    pipe = pipeline("image-text-to-text", model=str(model_dir))
    with pytest.raises(Exception, match=r"(?i)image"):
        pipe(images=scan, text=HOLDER, max_new_tokens=2)
    (answer,) = pipe(text=conversation(scan), max_new_tokens=2, return_full_text=False)
    assert isinstance(answer["generated_text"], str)
    answers = pipe(text=[conversation(scan), conversation(scan)], max_new_tokens=2, return_full_text=False)
    assert answers[0] == answers[1] == [answer]


def test_arrays_with_spacing_and_volumes_are_taken(processor):
    hu = np.random.default_rng(0).integers(-1000, 400, (12, 20, 20)).astype(np.int16)
    text = processor.image_token
    by_array = processor(images=hu, text=text, spacing_mm=(5.0, 2.0, 2.0), return_tensors="pt")
    by_volume = processor(images=CTVolume.from_array(hu, (5.0, 2.0, 2.0)), text=text, return_tensors="pt")
    assert torch.equal(by_array["pixel_values"], by_volume["pixel_values"])


def test_a_tokenizer_without_known_chat_marks_is_refused():
    with pytest.raises(ValueError, match="instruct"):
        chat_template_for({"a": 0}, "<image>")
