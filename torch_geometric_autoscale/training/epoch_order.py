"""The order of partitions in an epoch."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochOrder(Sampler[int]):
    """A random order that depends on the seed and the epoch's number alone.

    It draws from no generator that anything else draws from: worker processes, dropout and what
    came before make no difference, and an epoch can be repeated by its number.

    Args:
        seed: Of the run.
        size: Number of partitions.

    Attributes:
        epoch: Number of the epoch whose order comes next.
        skip: Partitions at its beginning to leave out, where it is resumed in its midst.
    """

    def __init__(self, seed: int, size: int = 0) -> None:
        self.seed, self.size, self.epoch, self.skip = seed, size, 0, 0

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        yield from torch.randperm(self.size, generator=generator)[self.skip :].tolist()

    def __len__(self) -> int:
        return self.size
