"""What a graph holds, held against what a module's ``forward`` is given of it."""

import warnings

from torch import Tensor
from torch_geometric.data import Data, HeteroData

from ..errors import explain
from .inputs import ForwardInputs

_WHO = 'autoscale'
_OF_EDGES = {'edge_weight', 'edge_attr', 'edge_type'}


def check_given(who: str, data: Data | HeteroData, inputs: ForwardInputs) -> None:
    """Raise for inputs that require a gradient; warn of edge attributes that are not given.

    Args:
        who: The module's class.
        data: The graph.
        inputs: What its ``forward`` is given.

    Raises:
        ValueError: If an attribute that is given requires a gradient.
    """
    given = {source.removesuffix('_dict') for source in inputs.sources.values()}
    for store in data.stores:
        for name in given:
            value = store.get(name)
            if isinstance(value, Tensor) and value.requires_grad:
                _refuse_gradient(name)
    present = {name for store in data.stores for name in store if name in _OF_EDGES}
    if inputs.open and present - given:
        names, left_out = tuple(inputs.sources), sorted(present - given)
        warnings.warn(
            explain(_WHO, f'{who}.forward takes any argument and is given {", ".join(names)}',
                    f'data with {", ".join(left_out)} as well', 'Say what it takes: inputs='
                    f'{(*names, *left_out)}, or inputs={names}.'),
            stacklevel=6,  # past two decorators, at the caller of `autoscale`
        )  # fmt: skip


def _refuse_gradient(name: str) -> None:
    remedy = f'Pass data.{name}.detach().'
    if 'edge' not in name:
        remedy = (
            f'To learn it, make it a parameter of the model, e.g. a torch.nn.Embedding with a row '
            f'per node that forward looks up by n_id; if not, use data.{name}.detach().'
        )
    raise ValueError(
        explain(_WHO, f"'data.{name}' must not require a gradient, as several batches read it",
                'one that does', remedy)
    )  # fmt: skip
