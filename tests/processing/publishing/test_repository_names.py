import pytest

from argus_processing.publishing.repository_names import repository_name


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("argus-tiny",), "argus-tiny"),
        (("argus-8b-hr", "meta-llama/Llama-3.1-8B-Instruct"), "Llama-3.1-argus-8b-hr"),
        (("argus-3b-nr", "models/Llama-3.2-3B-Instruct/"), "Llama-3.2-argus-3b-nr"),
        (("argus-70b-hr", "Meta-Llama-3.1-70B-Instruct", "1"), "Llama-3.1-argus-70b-hr-stage1"),
        (("argus-8b-hr", "Qwen/Qwen3-8B"), "argus-8b-hr-qwen3-8b"),
        (("argus-3b-nr", "google/gemma-3-4b-it"), "argus-3b-nr-gemma-3-4b"),
        (("argus-8b-nr", "Llama-3.1-8B", "2", "m3d"), "Llama-3.1-m3d-8b-nr"),
    ],
)
def test_a_repositorys_name_says_preset_language_model_and_stage(arguments, name):
    assert repository_name(*arguments) == name


def test_a_name_that_no_repository_may_have_is_refused():
    with pytest.raises(ValueError, match="letters, digits"):
        repository_name("argus 8b")
