"""Loss, scores and optimiser of node classification."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..metrics import compute_micro_f1

SPLITS = ('train', 'val', 'test')


def classification_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Mean loss of the rows: cross-entropy for class ids ``(B,)``, BCE for labels ``(B, C)``."""
    if y.dim() == 1:
        return F.cross_entropy(logits, y)
    return F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype))


def micro_f1_by_split(logits: Tensor, data: Data) -> dict[str, float]:
    """Micro F1 of every split in percent."""
    logits = logits.cpu()
    return {
        split: 100 * compute_micro_f1(logits, data.y, data[f'{split}_mask']) for split in SPLITS
    }


def build_optimizer(
    model: torch.nn.Module, lr: float, reg_weight_decay: float, nonreg_weight_decay: float
) -> torch.optim.Adam:
    """Adam with the paper's two weight decays.

    ``model.reg_modules`` get the first, all other parameters the second. A model without
    ``reg_modules`` gets the first throughout.
    """
    regularised = getattr(model, 'reg_modules', None)
    chosen = {
        id(parameter)
        for module in (regularised if regularised is not None else [model])
        for parameter in module.parameters()
    }
    groups = [
        {
            'params': [p for p in model.parameters() if (id(p) in chosen) is first],
            'weight_decay': decay,
        }
        for first, decay in ((True, reg_weight_decay), (False, nonreg_weight_decay))
    ]
    groups = [group for group in groups if group['params']]
    if not groups:
        raise ValueError(
            explain('train', 'the model must have parameters', type(model).__name__,
                    'Run it with model(loader=...) instead.')
        )  # fmt: skip
    return torch.optim.Adam(groups, lr=lr)


def check_data(data: Data, splits: Sequence[str] = SPLITS) -> None:
    """Raise unless ``data`` has features, labels and masks, with labelled nodes in each.

    Raises:
        ValueError: Naming the attribute that is missing or of another shape.
    """
    for name in ('x', 'y', *(f'{split}_mask' for split in splits)):
        if not isinstance(data.get(name), Tensor):
            raise ValueError(
                explain('train', f"'data.{name}' must be there", 'nothing',
                        "'gen_masks' draws masks from labels.")
            )  # fmt: skip
    for split in splits:
        mask = data[f'{split}_mask']
        if mask.dtype != torch.bool or mask.shape != data.y.shape[:1]:
            raise ValueError(
                explain('train', f"'data.{split}_mask' must be boolean and of shape "
                        f'({data.y.size(0)},)', f'{mask.dtype} of shape {tuple(mask.shape)}',
                        'Pick one split: data.train_mask[:, split].')
            )  # fmt: skip
        labelled = data.y >= 0 if data.y.dim() == 1 else torch.ones_like(mask)
        if not bool((mask & labelled).any()):
            raise ValueError(
                explain('train', f"'data.{split}_mask' must select a labelled node", 'none',
                        "'gen_masks' draws masks from labels.")
            )  # fmt: skip
        if data.y.dim() == 1 and bool((mask & ~labelled).any()):
            raise ValueError(
                explain('train', f"'data.{split}_mask' must select labelled nodes only",
                        f'{int((mask & ~labelled).sum())} nodes with y == -1',
                        "Combine the mask with 'y >= 0'.")
            )  # fmt: skip
