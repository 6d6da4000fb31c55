"""A converted module in the form of the built-in models, for training loop and command line."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..scalable import ScalableGNN
from .autoscaled import AutoScaled, autoscale

_WHO = 'model=pyg'


class ConvertedGNN(ScalableGNN):
    """An unmodified module that is called, trained and evaluated as a :class:`ScalableGNN`.

    Args:
        module: The module; what :func:`autoscale` takes.
        data: The permuted graph.
        ptr: ``(num_parts + 1,)`` bounds of its partitions.
        verify: As in :func:`autoscale`.
    """

    def __init__(
        self, module: torch.nn.Module, data: Data, ptr: Tensor, verify: bool = True
    ) -> None:
        num_nodes = int(data.num_nodes or 0)
        gas = autoscale(module, data, partition=(torch.arange(num_nodes), ptr), verify=verify)
        widths = [boundary.width for boundary in gas.boundaries]
        super().__init__(num_nodes, widths, len(widths) + 1)
        self.module = module
        gas.__dict__['histories'] = self.histories
        self._gas = (gas,)  # no submodule: it holds the same module and histories

    @property
    def gas(self) -> AutoScaled:
        return self._gas[0]

    def reset_parameters(self) -> None:
        """Reset the module's parameters, if it can, and every history."""
        self.gas.reset_parameters()

    def __call__(self, *args: Any, loader: Any = None, **kwargs: Any) -> Any:
        if loader is not None:
            return self.gas.inference(loader.parts_per_sweep_batch)
        self.gas.train(self.training)
        return self.gas(*args, **kwargs)

    def refresh(self, loader: Any) -> Tensor:
        """Recompute every history exactly; see :meth:`ScalableGNN.refresh`."""
        return self.gas.refresh(loader.parts_per_sweep_batch)


def build_module(
    path: str, channels: Mapping[str, Any], args: Mapping[str, Any] | None = None
) -> torch.nn.Module:
    """Make a module from the importable name of its class.

    Args:
        path: E.g. ``'torch_geometric.nn.GraphSAGE'``.
        channels: Arguments that are passed where the constructor has a parameter of their name.
        args: Arguments that are passed in any case.

    Raises:
        ValueError: If there is no such class, or it refuses the arguments.
    """
    module_path, _, name = path.rpartition('.')
    try:
        cls = getattr(importlib.import_module(module_path or 'torch_geometric.nn'), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            explain(_WHO, "'model.module' must name a class that can be imported", repr(path),
                    f'Check the name ({error}); its folder must be on PYTHONPATH.')
        ) from error  # fmt: skip
    if not (inspect.isclass(cls) and issubclass(cls, torch.nn.Module)):
        raise ValueError(
            explain(_WHO, "'model.module' must name a torch.nn.Module", repr(path),
                    'Pass e.g. torch_geometric.nn.GraphSAGE.')
        )  # fmt: skip
    known = inspect.signature(cls).parameters
    taken = {name: value for name, value in channels.items() if name in known}
    try:
        return cls(**{**taken, **(args or {})})
    except TypeError as error:
        raise ValueError(
            explain(_WHO, f'{path} must accept its arguments', str(error),
                    "Set them with model.args='{name: value}'.")
        ) from error  # fmt: skip
