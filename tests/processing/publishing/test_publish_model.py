"""A model's folder through the Hub's client to a Hub on this machine, and back."""

import shutil
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from hostile_folders import edit
from huggingface_hub import snapshot_download
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from argus_inference.model_folder import hash_model
from argus_processing.publishing.hub_repository import Destination
from argus_processing.publishing.publish_model import publish_model

REPO = "lab/argus-tiny"
TO = Destination(REPO)


@pytest.fixture(scope="module")
def sharded(loaded, tmp_path_factory) -> Path:
    """The same model in several files of weights, with a card."""
    folder = tmp_path_factory.mktemp("sharded")
    model, processor = loaded
    model.save_pretrained(folder, max_shard_size="2MB")
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("# Argus for a test\n")
    return folder


def names(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_model_is_one_private_commit_with_exactly_its_files(local_hub, model_dir):
    address = publish_model(model_dir, Destination(REPO, tag="v1.0"))
    repository = local_hub.repositories["models", REPO]
    assert address == f"{local_hub.address}/{REPO}" and repository.private
    assert repository.messages == ["initial commit", "Upload argus-tiny"]
    assert repository.tags == {"v1.0": repository.branches["main"]}
    files = local_hub.files(REPO)
    assert sorted(files) == sorted([*names(model_dir), ".gitattributes"])
    assert all((model_dir / name).read_bytes() == files[name] for name in names(model_dir))


def test_what_comes_back_has_the_hash_of_the_folder(local_hub, sharded, tmp_path):
    publish_model(sharded, TO)
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert hash_model(snapshot_download(REPO, local_dir=tmp_path / "back")) == hash_model(sharded)


def test_a_second_start_changes_nothing_and_keeps_the_tag(local_hub, model_dir):
    for _ in range(2):
        publish_model(model_dir, Destination(REPO, tag="v1.0"))
    assert len(local_hub.repositories["models", REPO].messages) == 2


def test_an_upload_that_broke_off_goes_on_with_what_is_missing(local_hub, sharded):
    local_hub.refuse_after = 1
    with pytest.raises(ValueError, match="HF_TOKEN to a token that may write"):
        publish_model(sharded, TO)
    assert len(local_hub.sent) == 1 and list(local_hub.files(REPO)) == [".gitattributes"]
    local_hub.refuse_after = None
    publish_model(sharded, TO)
    shards = {path.name for path in sharded.glob("*.safetensors")}
    assert len(local_hub.sent) == len(set(local_hub.sent)) == len(shards)
    assert shards < local_hub.files(REPO).keys()


def test_shards_of_before_do_not_stay_beside_new_weights(local_hub, sharded, model_dir):
    publish_model(sharded, TO)
    publish_model(model_dir, TO)
    assert sorted(local_hub.files(REPO)) == sorted([*names(model_dir), ".gitattributes"])


def test_a_revision_is_a_branch_of_its_own(local_hub, sharded, model_dir):
    publish_model(model_dir, TO)
    publish_model(sharded, Destination(REPO, revision="stage1"))
    assert "model.safetensors" in local_hub.files(REPO)
    assert "model.safetensors.index.json" in local_hub.files(REPO, "stage1")


def test_a_tag_of_another_state_is_not_moved(local_hub, sharded, model_dir):
    publish_model(model_dir, Destination(REPO, tag="v1.0"))
    before = dict(local_hub.repositories["models", REPO].tags)
    with pytest.raises(ValueError, match="its tag v1.0 names another state"):
        publish_model(sharded, Destination(REPO, tag="v1.0"))
    assert local_hub.repositories["models", REPO].tags == before


def test_a_public_repository_must_be_asked_for(local_hub, model_dir):
    publish_model(model_dir, Destination("lab/open", public=True))
    assert not local_hub.repositories["models", "lab/open"].private
    with pytest.raises(ValueError, match="lab/open: is public; ask for that"):
        publish_model(model_dir, Destination("lab/open"))
    assert len(local_hub.repositories["models", "lab/open"].messages) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: edit(folder / "config.json", "PatientName", to="x"), "config.json: .*PatientName"),
        (lambda folder: (folder / "README.md").unlink(), "has no README.md"),
        (lambda folder: (folder / "generation_config.json").unlink(), "has no generation_config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json"),
    ],
)
def test_a_folder_that_may_not_be_published_never_reaches_the_network(local_hub, model_dir, tmp_path, spoil, said):
    folder = Path(shutil.copytree(model_dir, tmp_path / "model"))
    spoil(folder)
    with pytest.raises(ValueError, match=said):
        publish_model(folder, TO)
    assert local_hub.asked == []


def no_token(monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nonexistent")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_token, "does not let this token write there .*hf auth login"),
        (lambda patch: patch.setenv("HF_TOKEN", "another"), "does not let this token write there"),
        (lambda patch: patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True), "HF_HUB_OFFLINE forbids"),
        (lambda patch: patch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9"), "cannot be reached"),
    ],
)
def test_errors_of_the_hub_are_told_in_a_line(local_hub, model_dir, monkeypatch, spoil, said):
    spoil(monkeypatch)
    with pytest.raises(ValueError, match=f"^{REPO}: .*{said}") as caught:
        publish_model(model_dir, TO)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_dry_run_lists_the_files_and_shows_the_card_without_network(local_hub, argus, model_dir):
    code, stdout, stderr = argus("publish", "model", model_dir, REPO, "--dry-run")
    assert code == 0 and local_hub.asked == []
    listed = [line.split()[0] for line in stdout.splitlines()[: len(names(model_dir))]]
    assert listed == names(model_dir)
    assert (model_dir / "README.md").read_text().strip() in stdout
    assert "nothing was uploaded" in stderr


def test_the_command_uploads_and_prints_the_address(local_hub, argus, model_dir):
    code, stdout, _ = argus("publish", "model", model_dir, REPO, "--revision", "trial", "--tag", "v0")
    assert (code, stdout.strip()) == (0, f"{local_hub.address}/{REPO}")
    assert local_hub.repositories["models", REPO].tags.keys() == {"v0"}
    code, _, stderr = argus("publish", model_dir, REPO)
    assert code == 2 and stderr.count("\n") == 1 and "known: model, data" in stderr


def test_a_revision_pins_the_code_too(local_hub, model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    publish_model(model_dir, Destination(REPO, tag="v1.0"))
    later = Path(shutil.copytree(model_dir, tmp_path / "later"))
    with (later / "configuration_argus.py").open("a") as file:
        file.write("\nADDED_LATER = True\n")
    publish_model(later, TO)
    for revision, added in (("v1.0", False), ("main", True)):
        # As the Auto classes do where Argus is not installed.
        config = get_class_from_dynamic_module("configuration_argus.ArgusConfig", REPO, revision=revision)
        assert hasattr(sys.modules[config.__module__], "ADDED_LATER") == added
