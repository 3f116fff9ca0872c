"""The losses beside slow loops, and two processes beside one with the joint batch."""

import math
import subprocess
import sys
from pathlib import Path

import tiny_models
import torch
from torch.nn import functional

from argus_training.pretraining.contrastive_loss import image_text_loss, voxel_loss


def unit_rows(count: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_image_text_loss(image: torch.Tensor, text: torch.Tensor, scale: float) -> float:
    total = 0.0
    for rows, others in ((image, text), (text, image)):
        for place, row in enumerate(rows):
            terms = [math.exp(scale * float(row @ other)) for other in others]
            total -= math.log(terms[place] / sum(terms))
    return total / (2 * len(image))


def slow_voxel_loss(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """SimCLR's definition over the 2n voxels: all but the voxel itself are candidates."""
    voxels = torch.cat([first, second])
    total, count = 0.0, len(voxels)
    for place in range(count):
        terms = [math.exp(float(voxels[place] @ other) / temperature) for other in voxels]
        positive = (place + len(first)) % count
        total -= math.log(terms[positive] / (sum(terms) - terms[place]))
    return total / count


def test_image_text_loss_equals_a_slow_loop():
    image, text = unit_rows(5, 0), unit_rows(5, 1)
    expected = slow_image_text_loss(image, text, 3.0)
    assert math.isclose(image_text_loss(image, text, torch.tensor(3.0)).item(), expected, rel_tol=1e-5)


def test_voxel_loss_equals_a_slow_loop_and_leaves_filling_rows_out():
    first, second = unit_rows(7, 0), unit_rows(7, 1)
    is_voxel = torch.tensor([True, True, False, True, True, False, True])
    expected = slow_voxel_loss(first[is_voxel], second[is_voxel], 0.1)
    assert math.isclose(voxel_loss(first, second, is_voxel, 0.1).item(), expected, rel_tol=1e-5)


def test_no_voxel_at_all_gives_no_loss_and_no_nan():
    first = unit_rows(3, 0).requires_grad_()
    loss = voxel_loss(first, unit_rows(3, 1), torch.zeros(3, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss == 0 and first.grad.abs().max() == 0


# Each process holds half of the batch; the objectives are whole, the gradients averaged as the trainer's are.
ONE_OF_TWO = """
import sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
sys.path[:0] = {folders!r}
from conftest import tiny_batch, tiny_objective

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://{rendezvous}", rank=rank, world_size=2)
results = {{}}
for name in ("flip", "vox2vec"):
    module = tiny_objective(name)
    batch = {{key: value[2 * rank : 2 * rank + 2] for key, value in tiny_batch(name).items()}}
    parallel = DistributedDataParallel(module)
    loss = parallel(**batch, step=4).loss
    loss.backward()
    mean = loss.detach().clone()
    distributed.all_reduce(mean)
    results[name] = (mean / 2, {{key: value.grad for key, value in module.named_parameters()}})
if rank == 0:
    torch.save(results, {out!r})
distributed.destroy_process_group()
"""


def test_two_processes_have_the_loss_and_gradients_of_a_joint_batch(tmp_path, objective_of, batch_of):
    out = tmp_path / "results.pt"
    folders = [str(Path(file).parent) for file in (__file__, tiny_models.__file__)]
    script = ONE_OF_TWO.format(folders=folders, rendezvous=tmp_path / "rendezvous", out=str(out))
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    results = torch.load(out, weights_only=True)
    for name, (loss, gradients) in results.items():
        module = objective_of(name)
        expected = module(**batch_of(name), step=4).loss
        expected.backward()
        torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-5)
        own = {key: parameter.grad for key, parameter in module.named_parameters()}
        torch.testing.assert_close(gradients, own, atol=1e-5, rtol=1e-4)


def test_the_joint_loss_is_not_that_of_two_halves(objective_of, batch_of):
    """The comparison above would be empty if negatives across processes made no difference."""
    module, batch = objective_of("flip"), batch_of("flip")
    whole = module(**batch, step=4).loss
    halves = [module(**{key: value[part] for key, value in batch.items()}, step=4).loss for part in ([0, 1], [2, 3])]
    assert abs(whole - sum(halves) / 2) > 0.1
