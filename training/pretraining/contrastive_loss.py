"""Compute symmetric InfoNCE losses over all processes: samples of every process are negatives for the others.

Each process computes the loss of its own rows; because gradients are averaged over processes, the result is the loss
of the joint batch. In half precision the loss is still computed in float32.
"""

import torch
from torch import distributed
from torch.nn import functional


def world() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class _GatherRows(torch.autograd.Function):
    """Gather rows in the forward pass; in the backward pass each process gets the gradients of its rows from all."""

    @staticmethod
    def forward(ctx, rows: torch.Tensor) -> torch.Tensor:
        gathered = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Join the `(n, C)` rows of all processes in rank order to `(processes * n, C)`; gradients flow to each owner.

    Every process must hold the same number of rows.
    """
    _, num_processes = world()
    return rows if num_processes == 1 else _GatherRows.apply(rows)


def image_text_loss(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Compute the loss of matching each image with its text among all texts, and the reverse (CLIP, FLIP).

    Args:
        image: `(B, C)` of length 1, this process's samples.
        text: `(B, C)` of length 1, in the same order.
        scale: factor that multiplies the cosines.
    """
    with torch.autocast(image.device.type, enabled=False):
        image, text = image.float(), text.float()
        rank, _ = world()
        targets = rank * len(image) + torch.arange(len(image), device=image.device)
        image_loss = functional.cross_entropy(scale.float() * image @ gather_rows(text).T, targets)
        text_loss = functional.cross_entropy(scale.float() * text @ gather_rows(image).T, targets)
        return (image_loss + text_loss) / 2


def voxel_loss(
    first: torch.Tensor, second: torch.Tensor, is_voxel: torch.Tensor, temperature: float = 0.1
) -> torch.Tensor:
    """Compute the loss of matching each voxel with itself in the other view, among voxels of both views (Vox2Vec).

    Args:
        first: `(n, C)` of length 1, voxels of this process in the first view.
        second: `(n, C)`, the same voxels in the second view.
        is_voxel: `(n,)`, False where a row is only padding to n rows.
        temperature: divisor of the cosines.
    """
    rank, num_processes = world()
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        own = rank * len(first) + torch.arange(len(first), device=first.device)
        all_first, all_second = gather_rows(first), gather_rows(second)
        counts = gather_rows(is_voxel.float()[:, None])[:, 0]
        losses = _view_loss(first, all_second, all_first, own, counts > 0, temperature)
        losses = losses + _view_loss(second, all_first, all_second, own, counts > 0, temperature)
        # Averaged over processes this is the mean over all voxels, even if processes hold different numbers of them.
        return num_processes * losses.where(is_voxel, 0.0).sum() / (2 * counts.sum().clamp(min=1))


def _view_loss(
    rows: torch.Tensor,
    others: torch.Tensor,
    same_view: torch.Tensor,
    own: torch.Tensor,
    is_voxel: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Compute the loss of each row `(n,)`: row i's positive is `others[own[i]]`; the row itself is no candidate."""
    lowest = torch.finfo(rows.dtype).min
    across = (rows @ others.T / temperature).masked_fill(~is_voxel, lowest)
    within = (rows @ same_view.T / temperature).masked_fill(~is_voxel, lowest)
    within = within.scatter(1, own[:, None], lowest)
    return functional.cross_entropy(torch.cat([across, within], dim=1), own, reduction="none")
