"""The whole state of a training, as plain containers and tensors, and back."""

import copy
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..history import History
from .container import raw_bytes
from .random_state import random_state, set_random_state
from .results import Epoch, Position, Run
from .settings import TrainSettings

# Settings that change no number of a run.
FREE_SETTINGS = ('num_workers', 'history_tier', 'checkpoint_every', 'measure_memory')


@dataclass
class Training:
    """What a training works with, and how far it is.

    Attributes:
        identity: What a resumed training must share with the one that was saved, by name.
        run, position: See :class:`Run` and :class:`Position`.
        best_weights: Parameters and buffers at the best epoch.
        elapsed: Seconds of training so far.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    identity: dict[str, Any]
    run: Run
    position: Position
    best_weights: dict[str, Tensor] | None = None
    elapsed: float = 0.0

    def state(self) -> dict[str, Any]:
        """Everything a resumed training needs. Tensors are not copied: save it at once."""
        run = self.run
        return {
            'identity': self.identity,
            'histories': [
                {
                    'tier': history.tier,
                    'dtype': str(history.dtype),
                    'shape': [history.num_embeddings, history.embedding_dim],
                }
                for history in histories_of(self.model)
            ],
            'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'schedule': {
                'name': run.settings.schedule,
                'lr': [group['lr'] for group in self.optimizer.param_groups],
            },
            'random': random_state(self.device),
            'position': asdict(self.position),
            'epochs': [asdict(epoch) for epoch in run.epochs],
            'best_epoch': None if run.best is None else run.best.epoch,
            'best_weights': self.best_weights,
            'step_peak_bytes': run.step_peak_bytes,
            'elapsed': self.elapsed,
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Bring everything to a saved state.

        Raises:
            ValueError: The state is that of another model, graph, partition or of other settings.
                Nothing is changed then.
        """
        check_identity(state['identity'], self.identity, path)
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(copy.deepcopy(state['optimizer']))  # it takes tensors over
        run = self.run
        run.epochs = [Epoch(**epoch) for epoch in state['epochs']]
        best = state['best_epoch']
        run.best = next((epoch for epoch in run.epochs if epoch.epoch == best), None)
        run.step_peak_bytes = state['step_peak_bytes']
        position = state['position']
        self.position = Position(**{**position, 'epoch': Epoch(**position['epoch'])})
        weights = state['best_weights']
        self.best_weights = None if weights is None else {k: w.clone() for k, w in weights.items()}
        self.elapsed = state['elapsed']
        set_random_state(state['random'], self.device)


def histories_of(model: torch.nn.Module) -> list[History]:
    """The histories of a model, in its order."""
    return [module for module in model.modules() if isinstance(module, History)]


# Identity ########################################################################


def identity_of(
    model: torch.nn.Module, data: Data, ptr: Tensor, fingerprint: str, settings: TrainSettings
) -> dict[str, Any]:
    """By what a state recognises its training: model, graph, data, partition and settings."""
    tensors = {
        name: f'{str(value.dtype).removeprefix("torch.")} {tuple(value.shape)}'
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    for i, history in enumerate(histories_of(model)):
        tensors[f'histories.{i}'] = f'{(history.num_embeddings, history.embedding_dim)}'
    return {
        'model': {'class': type(model).__name__, **tensors},
        'graph': {'nodes': int(data.num_nodes or 0), 'fingerprint': fingerprint},
        'partition': {'parts': ptr.numel() - 1, 'bounds': _checksum(ptr.long())},
        'data': {
            name: _checksum(value)
            for name, value in sorted(data.to_dict().items())
            if isinstance(value, Tensor) and value.layout == torch.strided and name != 'edge_index'
        },
        'settings': {k: v for k, v in asdict(settings).items() if k not in FREE_SETTINGS},
    }


def _checksum(tensor: Tensor) -> str:
    return f'{tuple(tensor.shape)} {zlib.crc32(raw_bytes(tensor)):08x}'


_REMEDIES = {
    'model': 'Build the model with the options of that run.',
    'graph': 'Load the graph of that run, in the node order of the same partition.',
    'partition': "Pass the 'ptr' of that run.",
    'data': 'Pass the features, labels, masks and weights of that run.',
    'settings': 'Pass the settings of that run.',
}


def check_identity(saved: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    """Raise unless two identities agree.

    Raises:
        ValueError: Naming what differs, and how to start anew.
    """
    for what, remedy in _REMEDIES.items():
        theirs, ours = saved[what], here[what]
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            came, have = theirs.get(name, 'none'), ours.get(name, 'none')
            if came != have:
                raise ValueError(
                    explain('train', f"'{path.name}' must be a checkpoint of the same {what}",
                            f'{name} {came}, here {have}',
                            f'{remedy} To train anew, name another folder.')
                )  # fmt: skip
