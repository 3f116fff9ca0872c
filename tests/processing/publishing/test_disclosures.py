"""Things planted in a model's folder that must not be published, each with the kind that is found."""

import base64
import gzip
import io
import json
import os
import pickle
import shutil
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest
import torch
from hostile_folders import edit
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset, FileMetaDataset
from safetensors.torch import load_file, save_file

from argus_processing.publishing.disclosures import (
    LINK,
    OTHER,
    TRAINING_STATE,
    DisclosureError,
    check_disclosures,
    find_disclosures,
)
from argus_processing.publishing.file_signatures import ARCHIVE, PICKLE, SCAN, kind_of_bytes
from argus_processing.publishing.private_text import HEADER_FIELD, HIDDEN, LOCAL_PATH, TOKEN, private_in_text
from argus_processing.storage.foreign_files import ForeignFileError

# Written in parts, so that no other scanner takes this file for a leak.
HF_TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1cD3e"
SK_KEY = "sk-" + "proj-4f9Kq2LmN8vTz6RwY1xB3cD5"
AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
LETTERS = "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1cD3eF5gH7j"
TOKENS = [
    *(start + LETTERS for start in ("gsk_", "pypi-AgEIc" + LETTERS, "dckr_pat_", "ntn_", "figd_", "r8_")),
    *(start + LETTERS for start in ("hvs" + ".", "ATATT3x", "shpat_", "glpat-", "GOCSPX-", "sk_" + "live_")),
    *("dapi" + "0123456789abcdef" * 2, "dop_v1_" + "0123456789abcdef" * 4, "SG." + LETTERS[:22] + "." + LETTERS),
    "npm_" + LETTERS[:36],
    "123456789:AA" + LETTERS,
    "AccountKey" + "=" + LETTERS,
    "https://x.blob.core.windows.net/a?sv=1&sig=" + LETTERS,
    "export WANDB_API_KEY" + "=0123456789abcdef0123456789abcdef01234567",
    "password" + ": correcth0rse",
]
DAMAGED = "damaged"


@pytest.fixture
def folder(model_dir, tmp_path):
    """A copy of a model's folder, its weights by a hard link."""
    return shutil.copytree(model_dir, tmp_path / "model", copy_function=os.link)


def replace(path, write) -> None:
    """Write a file anew: a hard link shares its content with the shared model's folder."""
    content = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    path.write_bytes(write(content))


def put(name: str, content: bytes):
    def plant(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        replace(folder / name, lambda _: content)

    return plant


def setting(file: str, *keys: str, to):
    def plant(folder):
        replace(folder / file, lambda content: content)
        edit(folder / file, *keys, to=to)

    return plant


def text(file: str, more: str):
    return lambda folder: replace(folder / file, lambda content: content + more.encode())


def tensor(folder, name: str = "vision_tokens") -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights | {name: torch.zeros(4)}, folder / "model.safetensors", {"format": "pt"})


def gzip_without_end(packings: int = 40) -> bytes:
    content = b"x"
    for _ in range(packings):
        content = gzip.compress(content, 1, mtime=0)
    return content


def weights_metadata(folder) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", {"format": "pt", "from": "/home/anna/scans/ct.nii"})


def link_out(folder) -> None:
    (folder.parent / "secret.md").write_text("secret")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(folder.parent / "secret.md")


def linked_folder(folder) -> None:
    (folder.parent / "scans").mkdir()
    (folder / "scans").symlink_to(folder.parent / "scans")


def nifti() -> bytes:
    return nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes()


def dicom(preamble: bool = True) -> bytes:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.PatientName = "1.2.840.10008.5.1.4.1.1.2", "1.2.3", "Doe"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue() if preamble else stream.getvalue()[132:]


def saved(save, *content, **named) -> bytes:
    stream = io.BytesIO()
    save(stream, *content, **named)
    return stream.getvalue()


PLANTED = {
    "a pickle of torch by its name": (put("training_args.bin", b""), TRAINING_STATE),
    "weights of torch": (put("pytorch_model.bin", saved(lambda out: torch.save({}, out))), PICKLE),
    "a pickle under another name": (put("added_tokens.json", pickle.dumps({"a": 1})), PICKLE),
    "a pickle of torch under another name": (put("vocab.txt", saved(lambda out: torch.save({}, out))), PICKLE),
    "an optimizer": (put("optimizer.safetensors", b""), TRAINING_STATE),
    "a log of a run": (put("trainer_state.json", b"{}"), TRAINING_STATE),
    "adapters": (put("adapter_model.safetensors", b""), OTHER),
    "the adapters' settings": (put("adapter_config.json", b'{"base_model_name_or_path": "runs/a"}'), OTHER),
    "a volume by its name": (put("scan.nii.gz", b""), SCAN),
    "a volume": (put("LICENSE", nifti()), SCAN),
    "a packed volume": (put("NOTICE", gzip.compress(nifti())), SCAN),
    "a volume in a folder": (put("more/vocab.txt", nifti()), SCAN),
    "a DICOM file": (put("merges.txt", dicom()), SCAN),
    "a DICOM data set without its preamble": (put("merges.txt", dicom(preamble=False)), SCAN),
    "an array": (put("vocab.json", saved(np.save, np.zeros(3))), SCAN),
    "several arrays": (put("vocab.json", saved(np.savez, a=np.zeros(3))), SCAN),
    "a preview": (put("preview.png", b"\x89PNG\r\n"), SCAN),
    "an archive": (put("LICENSE", saved(lambda out: zipfile.ZipFile(out, "w").close())), ARCHIVE),
    "predictions": (put("predictions.jsonl", b'{"prediction": "Effusion."}'), OTHER),
    "code that the model does not use": (put("evil.py", b"print()"), OTHER),
    "a hidden file": (put(".env", b"A=1"), OTHER),
    "tensors among the weights": (tensor, OTHER),
    "a path in the weights' metadata": (weights_metadata, LOCAL_PATH),
    "a link out of the folder": (link_out, LINK),
    "a link to a folder": (linked_folder, LINK),
    "a header's name in a JSON": (setting("config.json", "PatientName", to="x"), HEADER_FIELD),
    "a header's name as others write it": (setting("processor_config.json", "patient_id", to="x"), HEADER_FIELD),
    "a header's name deep in a JSON": (setting("config.json", "vision_config", "SliceThickness", to=1), HEADER_FIELD),
    "a DICOM tag": (setting("generation_config.json", "00100010", to={"vr": "PN"}), HEADER_FIELD),
    "a NIfTI header": (setting("processor_config.json", "descrip", to="x"), HEADER_FIELD),
    "a header's name in the card": (text("README.md", "\nPatientBirthDate 1961\n"), HEADER_FIELD),
    "a study's identifier": (text("README.md", "\n1.2.840.113619.2.55.3.604688119\n"), HEADER_FIELD),
    "an absolute path": (setting("config.json", "notes", to="/scratch/anna/llm"), LOCAL_PATH),
    "a short absolute path": (setting("config.json", "notes", to="/scratch"), LOCAL_PATH),
    "a path in a sentence": (setting("config.json", "notes", to="from /scratch/anna/llm, epoch 2"), LOCAL_PATH),
    "a path of Windows": (setting("config.json", "notes", to="C:\\Users\\anna"), LOCAL_PATH),
    "a home folder": (setting("config.json", "notes", to="~/models/llm"), LOCAL_PATH),
    "a bucket": (setting("config.json", "notes", to="s3://hospital/llm"), LOCAL_PATH),
    "the language model's folder": (setting("config.json", "text_config", "_name_or_path", to="runs/llm"), LOCAL_PATH),
    "a path in the card": (text("README.md", "\ntrained on /mnt/pacs/ct\n"), LOCAL_PATH),
    "a path in the code": (text("modeling_argus.py", '\nROOT = "/home/anna/models"\n'), LOCAL_PATH),
    "a token": (setting("config.json", "notes", to=HF_TOKEN), TOKEN),
    "a token as a key": (setting("config.json", HF_TOKEN, to=1), TOKEN),
    "a token by its name": (setting("tokenizer_config.json", "hub_token", to="x"), TOKEN),
    "a key in the card": (text("README.md", f"\n{SK_KEY}\n"), TOKEN),
    "a key in the template": (text("chat_template.jinja", f"{{# {AWS_KEY} #}}"), TOKEN),
    "a token in the code": (text("processing_argus.py", f'\nTOKEN = "{HF_TOKEN}"\n'), TOKEN),
    "another tensor of the vision tower": (lambda folder: tensor(folder, "model.vision_tower.scan"), OTHER),
    "a weight of another shape": (lambda folder: tensor(folder, "lm_head.weight"), OTHER),
    "a path in any file's place": (setting("config.json", "notes", to="-v:/home/anna/ct"), LOCAL_PATH),
    "a path of Windows with slashes": (setting("config.json", "notes", to="C:/Users/anna/ct"), LOCAL_PATH),
    "a folder of Windows": (setting("config.json", "notes", to="%USERPROFILE%\\ct"), LOCAL_PATH),
    "a file server": (setting("config.json", "notes", to="//fileserver/radiology/ct"), LOCAL_PATH),
    "an address of a file": (setting("config.json", "notes", to="file:///home/anna/ct"), LOCAL_PATH),
    "an address of a file in short": (setting("config.json", "notes", to="file:/ct"), LOCAL_PATH),
    "an address with percent signs": (setting("config.json", "notes", to="x%2Fy; %2Fhome%2Fanna%2Fct"), LOCAL_PATH),
    "an address in the hospital": (text("README.md", "\nfrom http://10.1.20.3:8042/studies\n"), LOCAL_PATH),
    "a host of the hospital": (text("README.md", "\nfrom https://pacs.radiology.local/dicom-web\n"), LOCAL_PATH),
    "a database": (setting("config.json", "notes", to="postgresql://reports/ct"), LOCAL_PATH),
    "a path with entities": (text("README.md", "\ntrained on &#47;mnt&#47;pacs&#47;ct\n"), LOCAL_PATH),
    "a header's name with hidden letters": (text("README.md", "\nPatient\u200bName\n"), HEADER_FIELD),
    "a header's name in wide letters": (text("README.md", "\nＰａｔｉｅｎｔＮａｍｅ\n"), HEADER_FIELD),
    "a name as DICOM writes it": (setting("config.json", "notes", to="Doe^Anna^^"), HEADER_FIELD),
    "an entry on a patient": (text("README.md", "\nPatient's name: Doe, Anna\n"), HEADER_FIELD),
    "a hospital's number": (text("README.md", "\n| MRN | 0012345 |\n"), HEADER_FIELD),
    "an identifier without a root": (
        text("README.md", "\n2.25.329800735698586629295641978511506172918\n"),
        HEADER_FIELD,
    ),
    "a name that stands twice": (put("added_tokens.json", b'{"a": "/home/anna/ct", "a": 1}'), DAMAGED),
    "a value under many lists": (put("added_tokens.json", b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}"), DAMAGED),
    "a text in UTF-16": (put("LICENSE", "trained on /home/anna/ct".encode("utf-16")), DAMAGED),
    "a text in UTF-16 without its mark": (put("LICENSE", "trained on /home/anna/ct".encode("utf-16-le")), HIDDEN),
    "a licence's name before a table": (put("LICENSE.csv", b"name,report\n"), OTHER),
    "reports in place of a vocabulary": (put("vocab.txt", b"No effusion.\nNo nodule in the lung.\n"), OTHER),
    "a table in place of a vocabulary": (put("vocab.json", b'{"patient": "Doe"}'), OTHER),
    "texts in place of merges": (put("merges.txt", b"#version: 0.2\na small effusion\n"), OTHER),
    "a text in place of a tokenizer": (put("tokenizer.model", b"Doe, Anna: no effusion"), OTHER),
    "a token among the words": (put("vocab.json", json.dumps({HF_TOKEN: 1}).encode()), TOKEN),
    "a token among the tokenizer's words": (setting("tokenizer.json", "model", "vocab", HF_TOKEN, to=9001), TOKEN),
    "a picture in the card": (text("README.md", "\n![ct](data:image/png;base64,iVBORw0KGgo=)\n"), SCAN),
    "a volume in the card": (
        text("README.md", f"\n<!-- {base64.b64encode(gzip.compress(os.urandom(400))).decode()} -->"),
        SCAN,
    ),
    "a volume in hexadecimal digits": (setting("config.json", "notes", to=nifti().hex()), SCAN),
    "a volume in numbers": (setting("processor_config.json", "notes", to=[[0] * 40] * 40), SCAN),
    "a file that inflates to itself": (put("LICENSE", gzip_without_end()), ARCHIVE),
    "a database's file": (put("LICENSE", b"SQLite format 3\0"), ARCHIVE),
    "a table of rows": (put("NOTICE", b"PAR1"), ARCHIVE),
    **{f"a token of a service: {token[:7]}": (setting("config.json", "notes", to=token), TOKEN) for token in TOKENS},
    "a volume in base64": (
        setting("config.json", "notes", to=base64.b64encode(gzip.compress(nifti() + os.urandom(400))).decode()),
        SCAN,
    ),
}


def test_a_trained_models_folder_may_be_published(folder):
    assert find_disclosures(folder) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found_and_not_quoted(folder, planted):
    plant, kind = PLANTED[planted]
    plant(folder)
    if kind == DAMAGED:
        with pytest.raises(ForeignFileError, match="twice|UTF-8|nested") as caught:
            find_disclosures(folder)
        assert "anna" not in str(caught.value)
        return
    with pytest.raises(DisclosureError, match="not published") as caught:
        check_disclosures(folder)
    told = str(caught.value)
    assert "\n" not in told and kind in {each.kind for each in caught.value.disclosures}
    assert not any(secret in told for secret in (HF_TOKEN, SK_KEY, AWS_KEY, "anna", "1961", "604688119", "Doe"))


def picture(folder, ending: str = ".png", after: bytes = b"", **texts: str) -> str:
    told = PngInfo()
    for name, value in texts.items():
        told.add_text(name, value)
    path = folder / f"audit{ending}"
    exif = Image.Exif()
    exif[0x010E] = texts.get("description", "")
    options = {"pnginfo": told} if ending == ".png" else {"exif": exif}
    Image.new("L", (4, 4)).save(path, **options)
    path.write_bytes(path.read_bytes() + after)
    return path.name


def test_a_picture_goes_along_if_somebody_has_looked_at_it(folder):
    name = picture(folder, Software="matplotlib")
    assert find_disclosures(folder, [name]) == []
    assert [each.kind for each in find_disclosures(folder)] == [SCAN]


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ({"Source": "/mnt/pacs/anna/ct.dcm"}, LOCAL_PATH),
        ({"PatientName": "Doe"}, HEADER_FIELD),
        ({"ending": ".jpg", "description": "Doe^Anna"}, HEADER_FIELD),
        ({"after": b"PK\x03\x04more"}, SCAN),
        ({"ending": ".jpg", "after": b"more"}, SCAN),
    ],
)
def test_what_a_picture_carries_beside_its_pixels_is_found(folder, planted, kind):
    found = find_disclosures(folder, [picture(folder, **planted)])
    assert {each.kind for each in found} == {kind} and "anna" not in str(found).lower()


def test_a_long_text_is_searched_in_a_moment():
    # Forms with two ends would take minutes, if each beginning were tried with each end.
    began = time.process_time()
    for piece in ("a.", "eyJ-", "0010 ", "~~/", "://a:", "Patient ID ", "\\\\a", "/a ", "password=", "2.25.", "A^"):
        assert len(list(private_in_text(piece * (50_000 // len(piece))))) < 4
    assert time.process_time() - began < 10


def test_what_the_hubs_client_leaves_out_is_not_looked_at(folder):
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "download.bin").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]")
    assert find_disclosures(folder) == []


def test_a_link_inside_the_folder_is_no_disclosure(folder):
    (folder / "LICENSE").write_text("Terms.")
    (folder / "NOTICE").symlink_to("LICENSE")
    assert find_disclosures(folder) == []


def test_words_of_a_vocabulary_are_not_taken_for_paths_or_names(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] |= {"/usr/bin/env": 9001, "PatientName": 9002}
    content["model"]["merges"] = [["/home", "/user/a"]]
    replace(path, lambda _: json.dumps(content).encode())
    assert find_disclosures(folder) == []


@pytest.mark.parametrize(
    "harmless",
    [
        "precision/recall/F1 and W2 * W1, 1/2/3",
        "see https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct and [data](docs/data.md)",
        "versions 1.2.3.4 and 5.23.0, seeds 0,1,2",
        "tokens: <|eot_id|>, </s>, <image>; a mask-less sk-learn score; hf_transfer",
        "the scan is `scan.nii.gz`; give a DICOM folder; patients are known by pseudonyms",
    ],
)
def test_plain_text_is_not_taken_for_something_private(harmless):
    assert list(private_in_text(harmless)) == []


def test_a_safetensors_header_is_no_volume():
    # Its first eight bytes are the header's length, a multiple of eight: never a NIfTI header's 348 or 540.
    assert kind_of_bytes((352).to_bytes(8, "little") + b'{"a":' + bytes(400)) is None
    assert kind_of_bytes((348).to_bytes(4, "little") + bytes(400)) == SCAN
