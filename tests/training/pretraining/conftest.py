import pytest
import torch
from tiny_models import tiny_tower
from transformers import BertConfig, BertModel

from argus_training.pretraining.flip_objective import FLIPObjective, FLIPSettings
from argus_training.pretraining.vox2vec_objective import Vox2VecObjective, Vox2VecSettings
from modeling_argus import ArgusVisionModel


def tiny_objective(name: str) -> torch.nn.Module:
    """A contrastive objective, flip or vox2vec, on the tiny tower."""
    tower = tiny_tower()
    if name == "vox2vec":
        return Vox2VecObjective(tower, Vox2VecSettings(num_voxels=40, projection_width=8), seed=1).train()
    bert = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    encoder = BertModel(bert, add_pooling_layer=False)
    return FLIPObjective(tower, encoder, FLIPSettings(projection_width=12), seed=1).train()


def tiny_batch(name: str) -> dict[str, torch.Tensor]:
    """Four volumes, with reports for flip."""
    generator = torch.Generator().manual_seed(2)
    volumes = torch.rand(4, 1, 8, 16, 16, generator=generator)
    # One scan holds hardly any body: the processes have unequal numbers of voxels.
    volumes[0, :, :, :, 3:] = 0.0
    batch = {"pixel_values": volumes, "index": torch.arange(4)}
    if name == "flip":
        batch["input_ids"] = torch.randint(1, 20, (4, 8), generator=generator)
        batch["attention_mask"] = torch.ones(4, 8, dtype=torch.long)
    return batch


@pytest.fixture
def tower() -> ArgusVisionModel:
    return tiny_tower()


@pytest.fixture
def objective_of():
    return tiny_objective


@pytest.fixture
def batch_of():
    return tiny_batch
