"""A model's folder through the Hub's client to a Hub on this machine, and back."""

import shutil
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from hostile_folders import edit
from huggingface_hub import snapshot_download
from local_hub import READING_TOKEN, StoredFile
from local_xet import chunks_in
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from argus_inference.model_folder import hash_model
from argus_processing.publishing.hub_repository import Destination, check_can_upload
from argus_processing.publishing.publish_model import publish_model
from argus_processing.publishing.published_card import card_of_repository
from argus_processing.storage.file_hash import hash_file

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
    assert all((model_dir / name).read_bytes() == files[name] for name in names(model_dir) if name != "README.md")
    assert f'from_pretrained("{REPO}", trust_remote_code=True)' in files["README.md"].decode()


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


def test_an_upload_to_a_hub_that_dies_midway_goes_on_where_it_stopped(local_hub, sharded, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    local_hub.dies_after = 2
    with pytest.raises(ValueError, match="cannot be reached .*the same command goes on") as caught:
        publish_model(sharded, Destination(REPO, tag="v1.0"))
    assert "\n" not in str(caught.value)
    repository, before = local_hub.repositories["models", REPO], list(local_hub.sent)
    assert len(before) == 2 and repository.messages == ["initial commit"] and not repository.tags
    local_hub.dies_after = None
    publish_model(sharded, Destination(REPO, tag="v1.0"))
    assert local_hub.sent[:2] == before and len(set(local_hub.sent)) == len(local_hub.sent)
    assert len(local_hub.sent) == len(list(sharded.glob("*.safetensors")))
    assert len(repository.messages) == 2 and repository.tags == {"v1.0": repository.branches["main"]}


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (("POST", "/commit/"), 401, "does not let this token write there"),
        (("POST", "/commit/"), 409, "another upload came between; .*the same command goes on"),
        (("POST", "/commit/"), 500, "the Hub answered 500 .*the same command goes on"),
        (("POST", "/commit/"), 429, "no more requests for now .*wait some minutes"),
        (("POST", "/repos/create"), 403, "does not let this token write there"),
        (("POST", "/preupload/"), 404, "the Hub answered 404"),
        (("POST", "/validate-yaml"), 400, "the upload stopped|the Hub answered 400"),
        (("POST", "/tag/"), 500, "the Hub answered 500"),
    ],
)
def test_each_refusal_is_told_in_a_line_and_the_next_start_mends_it(
    local_hub, model_dir, asked, status, said, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    local_hub.faults[asked] = status
    with pytest.raises(ValueError, match=f"^{REPO}: .*(?:{said})") as caught:
        publish_model(model_dir, Destination(REPO, tag="v1.0"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    local_hub.faults.clear()
    publish_model(model_dir, Destination(REPO, tag="v1.0"))
    repository = local_hub.repositories["models", REPO]
    assert len(repository.messages) == 2 and repository.tags == {"v1.0": repository.branches["main"]}


@pytest.fixture
def xet(local_hub, monkeypatch, tmp_path):
    """The Hub with the storage that its client prefers, as it is outside of tests."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_XET_CACHE", str(tmp_path / "xet-cache"))
    local_hub.storage = tmp_path / "storage"
    local_hub.storage.mkdir()
    return local_hub


def test_a_model_goes_up_and_comes_back_by_xet_in_one_commit(xet, sharded, tmp_path):
    publish_model(sharded, Destination(REPO, tag="v1.0"))
    repository = xet.repositories["models", REPO]
    assert xet.sent == [] and repository.messages == ["initial commit", "Upload Argus for a test"]
    files = repository.commits[repository.branches["main"]]
    shards = {path.name: hash_file(path) for path in sharded.glob("*.safetensors")}
    assert {name: file.oid for name, file in files.items() if file.xet} == shards
    assert hash_model(snapshot_download(REPO, local_dir=tmp_path / "back")) == hash_model(sharded)


def test_an_upload_by_xet_that_broke_off_sends_no_chunk_twice(xet, sharded):
    xet.faults["POST", "/commit/"] = 403
    with pytest.raises(ValueError, match="does not let this token write"):
        publish_model(sharded, TO)
    before = chunks_in(xet.storage)
    assert before and list(xet.files(REPO)) == [".gitattributes"]
    xet.faults.clear()
    publish_model(sharded, TO)
    assert chunks_in(xet.storage) == before and len(xet.repositories["models", REPO].messages) == 2


@pytest.mark.parametrize("status", [401, 404])  # others hf_xet tries for minutes
def test_errors_of_xet_are_told_in_a_line(xet, model_dir, status):
    xet.faults["GET", "/xet-write-token/"] = status
    with pytest.raises(ValueError, match=f"^{REPO}: ") as caught:
        publish_model(model_dir, TO)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert xet.repositories["models", REPO].messages == ["initial commit"]


def test_an_upload_that_came_between_is_not_overwritten(local_hub, model_dir, sharded):
    publish_model(model_dir, TO)
    repository, other = local_hub.repositories["models", REPO], {"README.md": StoredFile(b"another's")}
    local_hub.before_commit = lambda repository: repository.add("main", other, "another upload")
    with pytest.raises(ValueError, match="another upload came between"):
        publish_model(sharded, TO)
    assert repository.messages[-1] == "another upload" and len(local_hub.files(REPO)) == 1


def test_a_token_that_reads_and_a_public_repository_are_told_before_hours(local_hub, model_dir):
    check_can_upload(Destination("lab/new"))
    with pytest.raises(ValueError, match="lab/new: the token only reads"):
        check_can_upload(Destination("lab/new", token=READING_TOKEN))
    publish_model(model_dir, Destination("lab/open", public=True))
    check_can_upload(Destination("lab/open", public=True))
    for name in ("lab/open", "open"):
        with pytest.raises(ValueError, match=f"^{name}: is public"):
            check_can_upload(Destination(name))


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
    assert card_of_repository((model_dir / "README.md").read_text(), REPO).strip() in stdout
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
