"""Split work among the processes that a launcher (torchrun, accelerate launch) started for one command."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
# One process may generate for days while another waits for it; a process that ends is noticed at once in any case.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """This process's place among all; a single process shares with nobody and never waits.

    Attributes:
        rank: from 0; the first one writes what is written once.
        count: number of processes.
        on_this_machine: how many of them share this machine.
    """

    rank: int = 0
    count: int = 1
    on_this_machine: int = 1

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes what is written once."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return every `count`-th item: the shares of all processes are all items, none twice."""
        return items[self.rank :: self.count]

    def wait(self) -> None:
        """Wait until all processes are here.

        Raises:
            ConnectionError: if one of them has ended.
        """
        self.gather(None)

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in order of their ranks; raises as `wait`."""
        if self.count == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.count
        try:
            torch.distributed.all_gather_object(values, value)
        except RuntimeError:
            raise ConnectionError(
                "another process of this run has ended; what was finished is kept, and the same command goes on"
            ) from None
        return values


ALONE = Processes()


@contextmanager
def joined_processes(meeting: str | None = None) -> Iterator[Processes]:
    """Join the processes of this run, by gloo: reports are exchanged, not tensors. Each one gets its own GPU.

    `meeting` is torch's address at which they meet. Default: the one that the launcher tells them.

    Raises:
        ConnectionError: if the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        torch.distributed.init_process_group("gloo", init_method=meeting, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ConnectionError(f"the processes of this run cannot be joined ({type(error).__name__})") from error
    try:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size(), here)
    finally:
        torch.distributed.destroy_process_group()
