import pytest
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from argus_inference.model_folder import load_model
from argus_processing.saved_models.missing_models import missing_model
from argus_processing.saved_models.model_folders import REPORT_WRITER
from argus_processing.saved_models.pretrained import load_pretrained

MAKES = "training or `argus create argus-8b-hr` wrote"
FETCHES = "hf download OWNER/NAME --local-dir argus-8b-hr"


WAYS = {
    **{
        one.__name__: one.from_pretrained
        for one in (
            *(AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM),
            *(AutoTokenizer, AutoProcessor, AutoImageProcessor, AutoFeatureExtractor),
        )
    },
    "with code": lambda name: AutoModel.from_pretrained(name, trust_remote_code=True, revision="v1.0"),
    "by its name": lambda name: AutoModel.from_pretrained(pretrained_model_name_or_path=name),
    "a pipeline": lambda name: pipeline("image-text-to-text", model=name),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_presets_name_without_a_folder_says_how_to_get_one(empty_hub_cache, monkeypatch, way):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as caught:
        WAYS[way]("argus-8b-hr")
    said = str(caught.value)
    assert said.startswith("argus-8b-hr: no such model folder") and "\n" not in said
    assert MAKES in said and FETCHES in said


def test_our_own_loading_says_the_same(empty_hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (load_model, lambda name: load_pretrained(AutoModel, name, REPORT_WRITER)):
        with pytest.raises(FileNotFoundError, match="argus create argus-8b-hr.*hf download"):
            load("argus-8b-hr")


def test_the_name_of_a_published_preset_is_known_too(empty_hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="^Llama-3.1-argus-8b-hr: .*argus create argus-8b-hr`"):
        AutoModel.from_pretrained("Llama-3.1-argus-8b-hr")


def test_an_id_of_a_repository_is_what_is_fetched():
    said = str(missing_model("lab/Llama-3.1-argus-8b-hr"))
    assert "hf download lab/Llama-3.1-argus-8b-hr --local-dir Llama-3.1-argus-8b-hr" in said


def test_other_models_keep_the_error_of_transformers(empty_hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="connect to") as caught:
        AutoConfig.from_pretrained("some-model")
    assert "argus create" not in str(caught.value)


def test_a_folder_of_a_presets_name_loads(model_dir, tmp_path, monkeypatch):
    (tmp_path / "argus-8b-hr").symlink_to(model_dir)
    monkeypatch.chdir(tmp_path)
    assert AutoConfig.from_pretrained("argus-8b-hr").model_type == "argus"
