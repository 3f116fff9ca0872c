import pytest
import torch
from transformers.modeling_outputs import ModelOutput

from argus_training.pretraining.label_objective import (
    LabelObjective,
    measure,
    target_names,
    target_vector,
    targets_of,
)

RIGHT = {"label": "Lung nodule", "side": "right", "place": "upper lobe"}
BOTH = {"label": "Pleural effusion", "side": "bilateral", "place": None}
SPINE = {"label": "Arterial wall calcification", "side": None, "place": "aortic arch"}


def test_targets_name_label_side_and_place():
    assert targets_of([RIGHT]) == {"Lung nodule", "Lung nodule, right", "Lung nodule, right, upper lobe"}
    assert targets_of([BOTH]) == {"Pleural effusion", "Pleural effusion, left", "Pleural effusion, right"}
    assert targets_of([SPINE]) == {"Arterial wall calcification", "Arterial wall calcification, , aortic arch"}
    assert targets_of([]) == set()


def test_target_vector_follows_the_names_of_the_split():
    names = target_names([[RIGHT], [BOTH], []])
    assert names == sorted(names) and len(names) == 6
    assert [name for name, value in zip(names, target_vector([BOTH], names), strict=True) if value] == [
        "Pleural effusion",
        "Pleural effusion, left",
        "Pleural effusion, right",
    ]


@pytest.fixture
def objective(tower) -> LabelObjective:
    return LabelObjective(tower, num_targets=2)


def test_it_learns_on_which_side_a_bright_block_lies(objective):
    volumes = torch.zeros(2, 1, 8, 16, 16)
    volumes[0, ..., :8], volumes[1, ..., 8:] = 1.0, 1.0
    labels = torch.eye(2)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        objective(volumes, labels).loss.backward()
        optimizer.step()
    assert ((objective(volumes).logits > 0) == labels.bool()).all()
    assert objective(volumes, labels).loss < 0.1


def test_both_readings_send_gradients_to_the_tower(objective):
    for dead in ("weigh", "read"):
        objective.zero_grad()
        layer = getattr(objective, dead)
        kept = layer.weight.data.clone()
        layer.weight.data.zero_()
        objective(torch.rand(1, 1, 8, 16, 16), torch.ones(1, 2)).loss.backward()
        assert objective.vision_tower.embeddings.patch_embedding.weight.grad.abs().sum() > 0
        layer.weight.data = kept


def test_held_out_labels_sides_and_places_are_measured_apart(tmp_path):
    names = ["Lung nodule", "Lung nodule, left", "Lung nodule, right", "Lung nodule, right, upper lobe"]
    true = torch.tensor([[1.0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    logits = torch.tensor([[2.0, -1, 1, -1], [3, -1, -1, -1], [-1, 1, 1, -1]])

    def batches():
        for row in range(3):
            yield {"pixel_values": logits[row : row + 1], "labels": true[row : row + 1]}

    scores = measure(names)(lambda given: ModelOutput(logits=given), batches, tmp_path)
    # Labels: 1 right, 1 too many, 1 missed. Sides: 2 right, 1 too many. Places: 1 missed.
    assert scores == {"num_scans": 3, "label_f1": 0.5, "sided_f1": pytest.approx(0.8), "placed_f1": 0}
