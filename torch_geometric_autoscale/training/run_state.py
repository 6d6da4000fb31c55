"""The whole state of a training, as plain containers and tensors, and back."""

import copy
import functools
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..history import History
from ..sparse_rows import SparseRows
from ..staleness import Staleness
from .checkpoint_folder import CheckpointWarning
from .container import raw_bytes
from .random_state import random_state, set_random_state
from .results import Epoch, Position, Run
from .settings import TrainSettings

# Settings that change no number of a run but, for the last, where the clock ends it: that may come
# from another training's measured time, which no two attempts share. The type of the histories is
# checked with them.
FREE_SETTINGS = (
    'num_workers', 'prefetch', 'history_tier', 'history_dtype', 'history_cache', 'checkpoint_every',
    'measure_memory', 'measure_error', 'max_seconds',
)  # fmt: skip

LONGEST = 200  # characters of an option that are kept, besides a checksum


@dataclass
class Training:
    """What a training works with, and how far it is.

    Attributes:
        identity: What a resumed training must share with the one that was saved, by name.
        run, position: See :class:`Run` and :class:`Position`.
        best_weights: Parameters and buffers at the best epoch.
        elapsed: Seconds of training so far.
        staleness: Follows the ages of the histories' rows, if there are any.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    identity: dict[str, Any]
    run: Run
    position: Position
    best_weights: dict[str, Tensor] | None = None
    elapsed: float = 0.0
    staleness: Staleness | None = None

    def state(self) -> dict[str, Any]:
        """Everything a resumed training needs. Tensors are not copied: save it at once."""
        run = self.run
        return {
            'identity': self.identity,
            'histories': [
                {
                    'dtype': str(history.dtype).removeprefix('torch.'),
                    'dtype_is_chosen': history.dtype_is_chosen,
                    'shape': [history.num_embeddings, history.embedding_dim],
                }
                for history in histories_of(self.model)
            ],
            'threads': torch.get_num_threads(),
            'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'random': random_state(self.device),
            'position': {**asdict(self.position), 'epoch': self.position.epoch.to_dict()},
            'epochs': [epoch.to_dict() for epoch in run.epochs],
            'best_epoch': None if run.best is None else run.best.epoch,
            'best_weights': self.best_weights,
            'step_peak_bytes': run.step_peak_bytes,
            'elapsed': self.elapsed,
            'staleness': None if self.staleness is None else self.staleness.state(),
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Bring everything to a saved state.

        Another number of threads than the state's is told by a :class:`CheckpointWarning`.

        Raises:
            ValueError: The state is that of another model, graph, partition, loss, of other
                settings or histories of another type. Nothing is changed then.
        """
        check_identity(state['identity'], self.identity, path)
        check_histories(state['histories'], histories_of(self.model), path)
        if self.device.type == 'cpu':
            _warn_of_other_threads(state['threads'], path)
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(copy.deepcopy(state['optimizer']))  # it takes tensors over
        run = self.run
        run.epochs = [Epoch.from_dict(epoch) for epoch in state['epochs']]
        best = state['best_epoch']
        run.best = next((epoch for epoch in run.epochs if epoch.epoch == best), None)
        run.step_peak_bytes = state['step_peak_bytes']
        position = state['position']
        self.position = Position(**{**position, 'epoch': Epoch.from_dict(position['epoch'])})
        weights = state['best_weights']
        self.best_weights = None if weights is None else {k: w.clone() for k, w in weights.items()}
        self.elapsed = state['elapsed']
        if self.staleness is not None:
            kept = state.get('staleness')  # not there in states of an earlier version
            if kept is None:
                self.staleness = Staleness(self.model)
            else:
                self.staleness.load(kept)
        set_random_state(state['random'], self.device)


def histories_of(model: torch.nn.Module) -> list[History]:
    """The histories of a model, in its order."""
    return [module for module in model.modules() if isinstance(module, History)]


# Identity ########################################################################


def identity_of(
    model: torch.nn.Module,
    data: Data,
    ptr: Tensor,
    fingerprint: str,
    settings: TrainSettings,
    functions: Mapping[str, Any],
) -> dict[str, Any]:
    """By what a state recognises its training: model, graph, data, partition and settings.

    Args:
        functions: Loss and the like, by name.
    """
    tensors = {
        name: f'{str(value.dtype).removeprefix("torch.")} {tuple(value.shape)}'
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    return {
        'model': {'class': _qualified_name(type(model)), **tensors, **_options_of(model)},
        'graph': {'nodes': int(data.num_nodes or 0), 'fingerprint': fingerprint},
        'partition': {'parts': ptr.numel() - 1, 'bounds': _checksum(ptr.long())},
        'data': {
            name: _checksum(value)
            for name, value in sorted(data.to_dict().items())
            if isinstance(value, Tensor) and value.layout == torch.strided and name != 'edge_index'
        },
        'settings': {k: v for k, v in asdict(settings).items() if k not in FREE_SETTINGS},
        'functions': {name: _text(value) or 'none' for name, value in functions.items()},
    }


def _checksum(tensor: Tensor) -> str:
    if isinstance(tensor, SparseRows):  # their dropout draws other numbers than that of dense rows
        pieces = (tensor.pattern.crow, tensor.pattern.col, tensor.stored)
        return f'sparse {tuple(tensor.shape)} {" ".join(map(_checksum, pieces))}'
    return f'{tuple(tensor.shape)} {zlib.crc32(raw_bytes(tensor)):08x}'


def _options_of(model: torch.nn.Module) -> dict[str, str]:
    """What tells modules of the same tensors apart: classes and public attributes, by path.

    Histories are left out: they have a check of their own.
    """
    options = {}
    for path, module in model.named_modules():
        if isinstance(module, History):
            continue
        if path:
            options[f'class of {path}'] = _qualified_name(type(module))
        for name, text in _public_attributes(module):
            options[f'{path}.{name}' if path else name] = text
    return options


def _public_attributes(module: torch.nn.Module) -> Iterator[tuple[str, str]]:
    for name, value in sorted(vars(module).items()):
        # ``None`` counts as absent: it may be the place of something that is found out later.
        if name == 'training' or name.startswith('_') or value is None:
            continue
        text = _text(value)
        if text is not None:
            rest = f'... {zlib.crc32(text.encode()):08x}' if len(text) > LONGEST else ''
            yield name, text[:LONGEST] + rest


def _text(value: Any) -> str | None:
    """An option in words that another process finds the same; ``None`` for what is no option."""
    if isinstance(value, (bool, int, float, str, Enum, torch.dtype)) or value is None:
        return repr(value)
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, (list, tuple)):
        texts = [_text(item) for item in value]
        return None if None in texts else f'({", ".join(map(str, texts))})'
    if isinstance(value, functools.partial):
        bound = [_text(item) or '?' for item in value.args]
        bound += [f'{name}={_text(item) or "?"}' for name, item in value.keywords.items()]
        return f'{_text(value.func)}({", ".join(bound)})'
    if isinstance(value, torch.nn.Module):
        options = ', '.join(f'{name}={text}' for name, text in _options_of(value).items())
        return f'{_qualified_name(type(value))}({options})'
    if callable(value):
        return _qualified_name(value if hasattr(value, '__qualname__') else type(value))
    return None


def _qualified_name(value: Any) -> str:
    return f'{value.__module__}.{value.__qualname__}'


_REMEDIES = {
    'model': 'Build the model with the options of that run.',
    'graph': 'Load the graph of that run, in the node order of the same partition.',
    'partition': "Pass the 'ptr' of that run.",
    'data': 'Pass the features, labels, masks and weights of that run.',
    'settings': 'Pass the settings of that run.',
    'functions': 'Pass those of that run.',
}


def check_identity(saved: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    """Raise unless two identities agree.

    Raises:
        ValueError: Naming what differs, and how to start anew.
    """
    for what, remedy in _REMEDIES.items():
        theirs, ours = saved.get(what, {}), here[what]
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            if what == 'settings' and name in FREE_SETTINGS:
                continue
            came, have = theirs.get(name, 'none'), ours.get(name, 'none')
            if came != have:
                raise _another(path, f'of the same {what}', f'{name} {came}', have, remedy)


def check_histories(saved: list[dict[str, Any]], histories: list[History], path: Path) -> None:
    """Raise unless saved tables fit the histories, in shape and type.

    A history whose type nobody chose takes the wider one that its rows had.

    Raises:
        ValueError: Naming what differs.
    """
    remedy = "Make the histories with the 'dtype' of that run, for the same nodes and widths."
    if len(saved) != len(histories):
        raise _another(
            path, 'of the same histories', f'{len(saved)} tables', len(histories), remedy
        )
    for i, (state, history) in enumerate(zip(saved, histories, strict=True)):
        shape = [history.num_embeddings, history.embedding_dim]
        if state['shape'] != shape:
            came = f'table {i} of shape {tuple(state["shape"])}'
            raise _another(path, 'of the same histories', came, tuple(shape), remedy)
        dtype = getattr(torch, state['dtype'])
        is_chosen = state['dtype_is_chosen']
        reachable = history.dtype if is_chosen else torch.promote_types(history.dtype, dtype)
        if is_chosen != history.dtype_is_chosen or dtype != reachable:
            came = f'table {i} of {_type(state["dtype"], is_chosen)}'
            have = _type(str(history.dtype).removeprefix('torch.'), history.dtype_is_chosen)
            raise _another(path, 'of histories of the same type', came, have, remedy)


def _type(dtype: str, is_chosen: bool) -> str:
    return f'{dtype}, {"as chosen" if is_chosen else "the default"}'


def _another(path: Path, rule: str, came: Any, have: Any, remedy: str) -> ValueError:
    return ValueError(
        explain('train', f"'{path.name}' must be a checkpoint {rule}", f'{came}, here {have}',
                f'{remedy} To train anew, name another folder.')
    )  # fmt: skip


def _warn_of_other_threads(threads: int, path: Path) -> None:
    here = torch.get_num_threads()
    if threads != here:
        warnings.warn(
            f"train: '{path.name}' was computed with {threads} threads, here it goes on with "
            f'{here}: the last bits of its numbers may differ from an uninterrupted run. '
            f'Call torch.set_num_threads({threads}) or set OMP_NUM_THREADS={threads} for the same.',
            CheckpointWarning, stacklevel=2,
        )  # fmt: skip
