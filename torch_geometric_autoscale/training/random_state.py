"""Every random state that a training may draw from."""

import random
import sys
from typing import Any

import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of PyTorch, of its generator on ``device``, of Python and of NumPy."""
    state: dict[str, Any] = {'torch': torch.get_rng_state(), 'python': random.getstate()}
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    if 'numpy' in sys.modules:
        name, keys, *rest = sys.modules['numpy'].random.get_state()
        state['numpy'] = (str(name), keys.tolist(), *rest)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Bring the states back; that of a device only where there is one on both sides."""
    torch.set_rng_state(state['torch'])
    random.setstate(state['python'])
    if device.type == 'cuda' and 'cuda' in state:
        torch.cuda.set_rng_state(state['cuda'], device)
    if 'numpy' in state:
        import numpy as np

        np.random.set_state(state['numpy'])
