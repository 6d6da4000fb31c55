"""The terms of a plan: what it has to fit, and what is kept beside a training."""

import os
from dataclasses import dataclass

import torch

WHO = 'plan'


@dataclass(frozen=True)
class Terms:
    """What a plan is made for, besides the graph and the model.

    Attributes:
        memory: Bytes.
        device: Where to train, whose memory that is.
        method: The partitioner.
        folder: Where tables on disk lie (default: the system's folder for temporary files).
        keeps_original: Whether the graph is kept in its own order beside the reordered one.
        keeps_graph: Whether the model has a copy of its own.
        draws_pictures: Whether pictures are drawn in the end.
        who: The public call on whose behalf errors speak.
    """

    memory: int
    device: torch.device
    method: str = 'auto'
    folder: str | os.PathLike[str] | None = None
    keeps_original: bool = True
    keeps_graph: bool = False
    draws_pictures: bool = False
    who: str = WHO

    @property
    def is_on_device(self) -> bool:
        """Whether the memory is a device's, not that of the process."""
        return self.device.type != 'cpu'

    @property
    def holder(self) -> str:
        """Whose memory it is, as tables say."""
        return str(self.device) if self.is_on_device else 'the process'
