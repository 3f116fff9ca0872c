"""vLLM writes what transformers writes, token by token, whatever way a scan comes in; `make test-vllm` runs this."""

import base64
import io
import json
import re
import zipfile
from pathlib import Path

import datasets
import httpx
import numpy as np
import pytest
import torch
from dicom_series import write_series
from safetensors.torch import save
from transformers_reports import MAX_TOKENS, NUM_SCANS, greedy
from vllm_process import KEY, served, served_by_vllm

from argus_evaluation.benchmark.benchmark import OtherEngine, evaluate_model
from argus_inference.generation import UNFINISHED_LETTER, decode_report, end_tokens, generate_batch, prompt_of
from argus_inference.model_folder import load_model
from argus_inference.serving.sent_embeddings import MEDIA_TYPE
from argus_inference.serving.vllm.vllm_batches import start_vllm_batches
from argus_inference.serving.vllm.vllm_engine import VllmOptions
from argus_processing import read_ct
from argus_processing.instructions import INSTRUCTION
from argus_training.assembly.create import create_model


@pytest.fixture(scope="module")
def engine(model_folder):
    """vLLM's own offline engine, with the plugin found by its entry point."""
    from vllm import LLM

    return LLM(
        str(model_folder),
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=NUM_SCANS,
        enforce_eager=True,
        enable_mm_embeds=True,
        limit_mm_per_prompt={"image": 1},
    )


def pixels(reference, path: Path) -> torch.Tensor:
    return reference[1].image_processor(path)["pixel_values"][0]


def embeddings(reference, path: Path) -> torch.Tensor:
    with torch.inference_mode():
        return reference[0].get_image_features(pixels(reference, path)[None]).pooler_output


def array(reference, path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    volume = read_ct(path)
    return volume.hu, volume.spacing_mm


WAYS = {
    "path": lambda reference, path: str(path),
    "volume": lambda reference, path: read_ct(path),
    "array": array,
    "pixel values": pixels,
    "embeddings": embeddings,
}


@pytest.mark.parametrize("way", WAYS)
def test_token_ids_are_those_of_transformers(reference, files, expected, engine, way):
    from vllm import SamplingParams

    prompt = reference[1].tokenizer(prompt_of(reference[1], INSTRUCTION), add_special_tokens=False)["input_ids"]
    prompts = [
        {"prompt_token_ids": prompt, "multi_modal_data": {"image": WAYS[way](reference, path)}} for path in files
    ]
    answers = engine.generate(prompts, SamplingParams(temperature=0, max_tokens=MAX_TOKENS), use_tqdm=False)
    assert [list(answer.outputs[0].token_ids) for answer in answers] == expected


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.zeros(1, 2, 3, 4), "pixel values of a scan are"),
        (torch.zeros(1, 3, 32), "embedding|vectors"),
        ([object()], "a scan is a path"),
    ],
)
def test_what_is_no_scan_is_refused(reference, engine, image, said):
    prompt = reference[1].tokenizer(prompt_of(reference[1], INSTRUCTION), add_special_tokens=False)["input_ids"]
    with pytest.raises(ValueError, match=said):
        engine.generate({"prompt_token_ids": prompt, "multi_modal_data": {"image": image}}, use_tqdm=False)


def test_two_scans_are_refused(reference, engine, files):
    from vllm.exceptions import VLLMValidationError

    tokens = reference[1].tokenizer(prompt_of(reference[1], INSTRUCTION) * 2, add_special_tokens=False)["input_ids"]
    with pytest.raises(VLLMValidationError, match="At most 1"):
        engine.generate(
            {"prompt_token_ids": tokens, "multi_modal_data": {"image": [str(path) for path in files[:2]]}},
            use_tqdm=False,
        )


def series_of(path: Path, folder: Path) -> Path:
    """Write a phantom as a DICOM series."""
    volume = read_ct(path)
    _, dy, dx = volume.spacing_mm
    origin = volume.affine[:3, 3] * (-1, -1, 1)  # RAS to LPS
    step = volume.affine[:3, 0] * (-1, -1, 1)

    def edit(index, header):
        header.PixelSpacing = [dy, dx]
        header.ImagePositionPatient = [float(place) for place in origin + index * step]

    return write_series(folder, np.round(volume.hu).astype(np.int16), edit=edit)


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"study/{path.name}")
    return packed.getvalue()


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def server(model_folder, files, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "server.log"
    with served(model_folder, files[0].parent, log, "--engine", "vllm") as address:
        yield address
    told = log.read_text()
    assert not [word for word in (str(files[0]), files[0].name, "base64", "Traceback") if word in told], told


def ask(address: str, *urls: str, text: str | None = None, key: str = KEY, **options) -> httpx.Response:
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content += [] if text is None else [{"type": "text", "text": text}]
    request = {"messages": [{"role": "user", "content": content}], "max_tokens": MAX_TOKENS} | options
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{address}/v1/chat/completions", json=request, headers=headers, timeout=300)


def report_of(reference, tokens: list[int]) -> str:
    """Return a report's text without bytes of no letter at its end, which a random model writes and vLLM leaves out."""
    return decode_report(reference[1], tokens, end_tokens(reference[0])).text.rstrip(UNFINISHED_LETTER).strip()


SENT = {
    "file": lambda reference, path, folder: path.as_uri(),
    "NIfTI": lambda reference, path, folder: data_url(path.read_bytes(), "application/gzip"),
    "embeddings": lambda reference, path, folder: data_url(
        save({"image_embeds": embeddings(reference, path)[0].contiguous()}), MEDIA_TYPE
    ),
}


@pytest.mark.parametrize("way", SENT)
def test_the_server_answers_with_the_reports_of_transformers(reference, files, expected, server, way, tmp_path):
    for path, tokens in zip(files, expected, strict=True):
        answer = ask(server, SENT[way](reference, path, tmp_path)).json()
        assert answer["choices"][0]["message"]["content"] == report_of(reference, tokens)
        ended = answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["completion_tokens"] == len(tokens) - ended
        assert ended == (len(tokens) < MAX_TOKENS or tokens[-1] == reference[1].tokenizer.eos_token_id)


def test_a_zipped_series_gives_the_report_of_its_folder(reference, files, server, tmp_path):
    for number, path in enumerate(files):
        folder = series_of(path, tmp_path / str(number))
        answer = ask(server, data_url(zipped(folder), "application/zip")).json()
        assert answer["choices"][0]["message"]["content"] == report_of(reference, greedy(reference, read_ct(folder)))


def test_a_stream_gives_the_same_words(reference, files, expected, server):
    lines = ask(server, files[0].as_uri(), stream=True, stream_options={"include_usage": True}).text.splitlines()
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    words = [part["choices"][0]["delta"].get("content") or "" for part in parts if part["choices"]]
    assert "".join(words).strip() == report_of(reference, expected[0]) and len([word for word in words if word]) > 3
    assert parts[-1]["usage"]["completion_tokens"] > 3 and lines[-2] == "data: [DONE]"


def test_a_stop_ends_a_report_before_it(reference, files, expected, server):
    report = report_of(reference, expected[0])
    stop = report.split()[3]
    answer = ask(server, files[0].as_uri(), stop=[stop]).json()["choices"][0]
    assert answer["message"]["content"] == report[: report.index(stop)].strip() and answer["finish_reason"] == "stop"
    usage = ask(server, files[0].as_uri(), stop=[stop]).json()["usage"]
    tokens = expected[0]
    decode = reference[1].tokenizer.decode
    texts = [decode(tokens[:count], skip_special_tokens=True) for count in range(len(tokens) + 1)]
    # vLLM sees a text only once it ends in a whole letter.
    seen = [stop in text and not text.endswith(UNFINISHED_LETTER) for text in texts]
    assert usage["completion_tokens"] == seen.index(True)


def test_the_key_is_asked_for(files, server):
    assert ask(server, files[0].as_uri(), key="wrong").status_code == 401
    assert httpx.get(f"{server}/health").status_code == 200
    numbers = httpx.get(f"{server}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    assert "argus_reports_total" in numbers and "vllm:generation_tokens_total" in numbers
    assert {"/" in name for name in re.findall(r'model_name="([^"]*)"', numbers)} == {False}


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
REFUSED = {
    "outside": lambda path: ["file:///etc/hostname"],
    "parent": lambda path: [f"file://{path.parent}/../{path.parent.name}/../secret.nii.gz"],
    "missing": lambda path: [f"file://{path.parent}/none.nii.gz"],
    "junk": lambda path: [data_url(b"hello", "application/gzip")],
    "picture": lambda path: [data_url(PNG, "image/png")],
    "http": lambda path: ["http://127.0.0.1:1/scan.nii.gz"],
    "text alone": lambda path: [],
    "two scans": lambda path: [path.as_uri()] * 2,
    "embeddings of another model": lambda path: [data_url(save({"image_embeds": torch.zeros(3, 4)}), MEDIA_TYPE)],
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_in_one_line(files, server, case):
    answer = ask(server, *REFUSED[case](files[0]), text="Write the report.")
    said = answer.json()["error"]["message"]
    assert answer.status_code == 400 and said and "\n" not in said
    assert str(files[0].parent) not in answer.text and "hello" not in answer.text and "passwd" not in answer.text


@pytest.fixture(scope="module")
def other_folders(model_dir, tmp_path_factory) -> dict[str, Path]:
    """Random models with the other towers and compressors."""
    root, llm = tmp_path_factory.mktemp("others"), model_dir.parent / "llm"
    made = {
        name: create_model("argus-tiny", root / name, llm=llm, dtype="float32", tower=name)
        for name in ("m3d", "radfm", "ct2rep")
    }
    for name in ("average_pooling", "perceiver"):
        made[name] = create_model("argus-tiny", root / name, llm=llm, dtype="float32", compressor=name)
    return made


@pytest.mark.parametrize("name", ["m3d", "radfm", "ct2rep", "average_pooling", "perceiver"])
def test_other_towers_and_compressors_give_the_same_reports(other_folders, files, name):
    own = load_model(other_folders[name])
    batches = start_vllm_batches(other_folders[name], VllmOptions(given={"enforce_eager": True}))
    try:
        inputs = batches.preparer()([read_ct(path) for path in files[:3]], INSTRUCTION)
        reports = batches.begin(inputs, 40)()
    finally:
        batches.close()
    assert reports == generate_batch(*own, [read_ct(path) for path in files[:3]], [INSTRUCTION] * 3, 40)


def test_an_adapter_changes_the_reports_as_peft_does(model_folder, files, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, processor = load_model(model_folder)
    targets = r".*language_model\..*\.(q_proj|v_proj|down_proj)"
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=32, target_modules=targets, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    images = [read_ct(path) for path in files[:4]]
    expected = generate_batch(adapted.base_model.model, processor, images, [INSTRUCTION] * 4, 60)
    plain = generate_batch(*load_model(model_folder), images, [INSTRUCTION] * 4, 60)
    options = VllmOptions(adapter=tmp_path / "adapter", given={"enforce_eager": True, "max_lora_rank": 8})
    batches = start_vllm_batches(model_folder, options)
    try:
        reports = batches.begin(batches.preparer()(images, INSTRUCTION), 60)()
    finally:
        batches.close()
    assert reports == expected and reports != plain


@pytest.fixture(scope="module")
def plain_server(model_folder, files, tmp_path_factory):
    """vLLM's own server, told only where scans lie."""
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    options = ("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--enable-mm-embeds")
    with served_by_vllm(model_folder, files[0].parent, log, *options) as address:
        yield address
    assert str(files[0]) not in log.read_text() and "base64" not in log.read_text()


def test_vllms_own_server_gives_the_same_reports(reference, files, expected, plain_server):
    for path, tokens in zip(files[:4], expected, strict=False):
        answer = ask(plain_server, path.as_uri(), model="argus-tiny", text=INSTRUCTION).json()
        assert answer["choices"][0]["message"]["content"].strip() == report_of(reference, tokens)


@pytest.mark.parametrize("case", REFUSED)
def test_vllms_own_server_refuses_the_same(files, plain_server, case):
    answer = ask(plain_server, *REFUSED[case](files[0]), model="argus-tiny", text="Write the report.")
    assert answer.status_code == 400 and answer.json()["error"]["message"]
    assert str(files[0].parent) not in answer.text and "hello" not in answer.text


def test_vllms_own_server_unpickles_nothing(plain_server):
    pickled = io.BytesIO()
    torch.save(torch.zeros(3, 4), pickled)
    part = {"type": "image_embeds", "image_embeds": base64.b64encode(pickled.getvalue()).decode()}
    request = {"model": "argus-tiny", "messages": [{"role": "user", "content": [part]}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{plain_server}/v1/chat/completions", json=request, headers=headers, timeout=60)
    assert answer.status_code == 400 and "no safetensors" in answer.json()["error"]["message"]


def test_an_evaluation_gives_the_same_predictions(model_folder, files, expected, tmp_path):
    rows = {"scan_id": [path.name for path in files], "image": [str(path) for path in files]}
    rows |= {"report": ["No pleural effusion."] * NUM_SCANS}
    data = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Nifti())
    engine = OtherEngine("vllm", lambda folder: start_vllm_batches(folder, VllmOptions(given={"enforce_eager": True})))
    options = {"batch_size": 4, "max_new_tokens": MAX_TOKENS}
    plain = evaluate_model(model_folder, data, ["r"], tmp_path / "transformers", **options)
    other = evaluate_model(model_folder, data, ["r"], tmp_path / "vllm", engine=engine, **options)
    for name in ("predictions.jsonl", "predictions_blank.jsonl", "reports.jsonl"):
        assert (tmp_path / "vllm" / name).read_bytes() == (tmp_path / "transformers" / name).read_bytes()
    assert other.loading.engine == "vllm" and plain.loading is None and other.metrics == plain.metrics
