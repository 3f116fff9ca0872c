"""Read labels by CT-CLIP's text classifier, whose answers are the labels of CT-RATE.

A RoBERTa encoder (RadBERT-RoBERTa-4m), its pooled first token, one linear layer of 18, and a sigmoid at 0.5 (Hamamci et
al., arXiv 2403.17834; `text_classifier` of its repository). The classifier's file holds the encoder's weights too, so
of RadBERT only the configuration and the tokenizer are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..clinical.clinical_answers import ClinicalModel, KeptModel, printable
from ..clinical.clinical_weights import ClinicalOptions, MissingWeightsError, Weights, identify
from .label_terms import CT_RATE_LABELS
from .read_report import ReadReport

ENCODER = Weights(
    "zzxslp/RadBERT-RoBERTa-4m",
    "RadBERT-RoBERTa-4m",
    files=("config.json", "tokenizer*.json", "vocab.json", "merges.txt", "special_tokens_map.json"),
)
CLASSIFIER = "RadBertClassifier.pth"
CLASSIFIER_REPOSITORY, CLASSIFIER_PLACE = "ibrahimhamamci/CT-RATE", "models/RadBertClassifier.pth"
THRESHOLD, MAX_TOKENS = 0.5, 512
# Earlier versions of transformers saved it with the weights.
_NO_WEIGHT = "model.embeddings.position_ids"


@dataclass(frozen=True)
class RadBertReader:
    """The classifier as a reader of labels."""

    signature: str
    model: ClinicalModel

    def read(self, reports: Sequence[str]) -> list[ReadReport]:
        """Return the labels of each report whose probability is at least 0.5; longer than 512 tokens is cut."""
        answers = self.model.answer([printable(report) for report in reports])
        return [ReadReport(_labels_of(answer["probabilities"]), answer["cut"]) for answer in answers]


def _labels_of(probabilities: Sequence[float]) -> frozenset[str]:
    named = zip(CT_RATE_LABELS, probabilities, strict=True)
    return frozenset(label for label, probability in named if probability >= THRESHOLD)


def radbert_reader(options: ClinicalOptions) -> RadBertReader:
    """Return the classifier; it is loaded with the first report.

    Raises:
        MissingWeightsError: if its weights are not found; the message says what to do.
    """
    encoder, classifier = ENCODER.find(options), _find_classifier(options)
    signature = (
        f"radbert|argus:1|encoder:{ENCODER.repo_id},{identify(encoder)}|classifier:{CLASSIFIER_REPOSITORY},"
        f"{identify(classifier)}|max tokens:{MAX_TOKENS}|threshold:{THRESHOLD}"
    )
    load = partial(RadBertModel, encoder, classifier, options.batch_size)
    return RadBertReader(signature, KeptModel(options.answers, signature, "RadBERT", load))


def _find_classifier(options: ClinicalOptions) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    if options.folder is not None and (options.folder / CLASSIFIER).is_file():
        return options.folder / CLASSIFIER
    try:
        return Path(
            hf_hub_download(
                CLASSIFIER_REPOSITORY, CLASSIFIER_PLACE, repo_type="dataset", local_files_only=not options.download
            )
        )
    except (OSError, ValueError, HfHubHTTPError) as error:
        what = f"put {CLASSIFIER_PLACE} of the data set {CLASSIFIER_REPOSITORY}, whose terms must be accepted, into"
        place = options.folder or "the folder of --clinical-models"
        start = f"not fetched from the Hub ({type(error).__name__})" if options.download else "no weights"
        raise MissingWeightsError(f"{start}: {what} {place}") from error


class RadBertModel:
    """The encoder and the linear layer.

    Args:
        encoder: folder with the encoder's configuration and tokenizer.
        classifier: file of all weights.
        batch_size: number of reports read together.
    """

    def __init__(self, encoder: Path, classifier: Path, batch_size: int):
        import torch
        from transformers import AutoModel

        from argus_processing.saved_models.model_folders import TEXT_ENCODER
        from argus_processing.saved_models.pretrained import build_model, load_tokenizer
        from argus_processing.saved_models.weight_files import check_pickled

        check_pickled(classifier)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        body: Any = build_model(AutoModel, encoder, TEXT_ENCODER, [classifier])
        self._network = torch.nn.ModuleDict(
            {"model": body, "classifier": torch.nn.Linear(body.config.hidden_size, len(CT_RATE_LABELS))}
        )
        _load_weights(self._network, classifier)
        self._network.to(self._device, torch.float32).eval()
        self._tokenizer = load_tokenizer(encoder)
        self._batch_size = batch_size

    def answer(self, reports: Sequence[str]) -> list[dict[str, Any]]:
        """Return for each report the `probabilities` of the labels, and whether it was `cut`."""
        import torch

        answers: list[dict[str, Any]] = []
        for start in range(0, len(reports), self._batch_size):
            part = list(reports[start : start + self._batch_size])
            lengths = [len(ids) for ids in self._tokenizer(part)["input_ids"]]
            inputs = self._tokenizer(
                part, max_length=MAX_TOKENS, truncation=True, padding=True, return_tensors="pt"
            ).to(self._device)
            with torch.inference_mode():
                pooled = self._network["model"](inputs["input_ids"], inputs["attention_mask"]).pooler_output
                probabilities = self._network["classifier"](pooled).sigmoid().tolist()
            answers += (
                {"probabilities": each, "cut": length > MAX_TOKENS}
                for each, length in zip(probabilities, lengths, strict=True)
            )
        return answers


def _load_weights(network: Any, path: Path) -> None:
    """Load the weights of a `.pth` file, read as tensors only.

    Raises:
        ForeignFileError: naming the file and what is wrong, such as a weight that is missing.
    """
    import torch

    from argus_processing.saved_models.pretrained import refusing
    from argus_processing.storage.foreign_files import ForeignFileError

    advice = f"fetch {CLASSIFIER_PLACE} of {CLASSIFIER_REPOSITORY} again"
    with refusing(path, advice):
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        state.pop(_NO_WEIGHT, None)
    own = network.state_dict()
    for problem, names in (("lacks", own.keys() - state.keys()), ("does not know", state.keys() - own.keys())):
        if names:
            raise ForeignFileError(f"{path}: {problem} {len(names)} weights, the first is {min(names)[:80]}; {advice}")
    with refusing(path, advice):
        network.load_state_dict(state)
