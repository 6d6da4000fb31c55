"""Accuracy of predictions, and random splits to measure it on."""

import torch
from torch import Tensor

from torch_geometric_autoscale.errors import explain


def compute_micro_f1(logits: Tensor, y: Tensor, mask: Tensor | None = None) -> float:
    """Return the micro-averaged F1 score of predictions, a number in [0, 1].

    With one label per node it is the accuracy of ``logits.argmax(dim=1)``; nodes labelled -1 are
    left out. With several labels per node a label is predicted where its logit is above 0, and the
    score is ``2 TP / (2 TP + FP + FN)`` over all nodes and labels, 0 where that is 0 / 0.

    Args:
        logits: Scores (N, C), floating point.
        y: Class ids (N,) in ``[-1, C)``, or zeros and ones (N, C).
        mask: Nodes (N,) to look at, boolean; all by default.

    Raises:
        TypeError: An argument is no tensor, ``logits`` not floating point, or ``mask`` not boolean.
        ValueError: Shapes disagree, labels are out of range, a selected row of ``logits`` holds
            NaN, or ``mask`` selects no labelled node.
    """
    _check_scores(logits, y)
    if mask is not None:
        _check_mask(mask, logits.size(0))
        logits, y = logits[mask], y[mask]
    if y.dim() == 1:
        labelled = y != -1
        logits, y = logits[labelled], y[labelled]
    if y.size(0) == 0:
        what = '0 nodes' if mask is None else f'{int(mask.sum())} nodes, none labelled'
        raise ValueError(
            explain(
                'compute_micro_f1',
                'mask selects no labelled node' if mask is not None else 'no node is labelled',
                what,
                'Pass at least one labelled node.',
            )
        )
    wrong = int(logits.isnan().any(dim=1).sum())
    if wrong:
        raise ValueError(
            explain(
                'compute_micro_f1',
                "'logits' must be free of NaN",
                f'NaN in {wrong} rows',
                'Look for a diverged training or NaN in the features.',
            )
        )
    return _accuracy(logits, y) if y.dim() == 1 else _multi_label_f1(logits, y)


def gen_masks(
    y: Tensor,
    train_per_class: int = 20,
    val_per_class: int = 30,
    num_splits: int = 20,
    seed: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw random splits with a fixed number of nodes per class.

    Of each class ``train_per_class`` nodes go to training and ``val_per_class`` to validation, all
    its others to test; nodes labelled -1 go nowhere. The GAS paper's experiments on Amazon and
    Coauthor graphs use the default numbers and seed 12345.

    Args:
        y: Class ids (N,), -1 for unlabelled nodes.
        train_per_class: Training nodes of each class.
        val_per_class: Validation nodes of each class.
        num_splits: How many splits.
        seed: Draws from a generator of its own; by default from PyTorch's global one.

    Returns:
        ``train_mask, val_mask, test_mask``, each (N, num_splits), or (N,) for a single split,
        boolean, on the device of ``y``.

    Raises:
        TypeError: ``y`` is no tensor of integers.
        ValueError: ``y`` is not one-dimensional or has no label, a number is negative or there is
            no split, or a class has fewer than ``train_per_class + val_per_class`` nodes.
    """
    _check_split_sizes(train_per_class, val_per_class, num_splits)
    labels = _check_labels(y).cpu()
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    train_mask = torch.zeros(labels.numel(), num_splits, dtype=torch.bool)
    val_mask = train_mask.clone()
    needed = train_per_class + val_per_class
    for label in range(int(labels.max()) + 1):
        nodes = (labels == label).nonzero().view(-1)
        if nodes.numel() < needed:
            raise ValueError(
                explain(
                    'gen_masks',
                    f'every class must have at least {needed} nodes '
                    f'({train_per_class} training, {val_per_class} validation)',
                    f'{nodes.numel()} in class {label}',
                    'Ask for fewer nodes per class, or merge small classes.',
                )
            )
        for split in range(num_splits):
            order = nodes[torch.randperm(nodes.numel(), generator=generator)]
            train_mask[order[:train_per_class], split] = True
            val_mask[order[train_per_class:needed], split] = True
    test_mask = ~(train_mask | val_mask) & (labels >= 0).unsqueeze(1)
    masks = (train_mask.to(y.device), val_mask.to(y.device), test_mask.to(y.device))
    return (masks[0][:, 0], masks[1][:, 0], masks[2][:, 0]) if num_splits == 1 else masks


def _accuracy(logits: Tensor, y: Tensor) -> float:
    """Return the share of rows whose largest logit is at ``y``."""
    return int((logits.argmax(dim=1) == y).sum()) / y.numel()


def _multi_label_f1(logits: Tensor, y: Tensor) -> float:
    """Return the micro F1 of thresholded logits against zeros and ones."""
    predicted, true = logits > 0, y > 0
    hits = 2 * int((predicted & true).sum())
    misses = int((predicted != true).sum())
    return hits / (hits + misses) if hits else 0.0


def _check_scores(logits: Tensor, y: Tensor) -> None:
    """Raise unless ``logits`` (N, C) and ``y`` (N,) or (N, C) fit together."""
    _check_tensor('compute_micro_f1', 'logits', logits)
    _check_tensor('compute_micro_f1', 'y', y)
    if not logits.is_floating_point():
        raise TypeError(
            explain(
                'compute_micro_f1',
                "'logits' must be floating point",
                logits.dtype,
                'Pass the output of the model, not its argmax.',
            )
        )
    if logits.dim() != 2 or y.shape not in (logits.shape[:1], logits.shape):
        raise ValueError(
            explain(
                'compute_micro_f1',
                "'logits' must have shape (N, C) and 'y' (N,) or (N, C)",
                f'{tuple(logits.shape)} and {tuple(y.shape)}',
                'Pass one row of scores per label or row of labels.',
            )
        )
    low, high = (-1, logits.size(1)) if y.dim() == 1 else (0, 2)
    wrong = (y < low) | (y >= high) | (y != y.floor() if y.is_floating_point() else False)
    if bool(wrong.any()):
        rule = f"'y' must hold class ids in [-1, {high})" if low else "'y' must hold 0 and 1"
        raise ValueError(
            explain(
                'compute_micro_f1',
                rule,
                f'{int(wrong.sum())} others',
                'Check the labels and the number of output channels.',
            )
        )


def _check_tensor(who: str, name: str, value: object) -> None:
    """Raise unless ``value`` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            explain(
                who,
                f"'{name}' must be a tensor",
                type(value).__name__,
                "Convert it with 'torch.as_tensor'.",
            )
        )


def _check_mask(mask: Tensor, num_nodes: int) -> None:
    """Raise unless ``mask`` is boolean (N,)."""
    _check_tensor('compute_micro_f1', 'mask', mask)
    if mask.dtype != torch.bool:
        raise TypeError(
            explain(
                'compute_micro_f1', "'mask' must be boolean", mask.dtype, 'Pass a mask, no ids.'
            )
        )
    if mask.shape != (num_nodes,):
        raise ValueError(
            explain(
                'compute_micro_f1',
                f"'mask' must have shape ({num_nodes},)",
                tuple(mask.shape),
                'Of several splits pass one column.',
            )
        )


def _check_labels(y: Tensor) -> Tensor:
    """Return ``y`` if it holds class ids (N,) and at least one label, else raise."""
    _check_tensor('gen_masks', 'y', y)
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise TypeError(explain('gen_masks', "'y' must hold integers", y.dtype, 'Pass class ids.'))
    if y.dim() != 1:
        raise ValueError(
            explain(
                'gen_masks',
                "'y' must have shape (N,)",
                tuple(y.shape),
                'Splits per class need one label per node.',
            )
        )
    if y.numel() == 0 or int(y.max()) < 0 or int(y.min()) < -1:
        got = 'no label' if y.numel() == 0 or int(y.max()) < 0 else int(y.min())
        raise ValueError(
            explain(
                'gen_masks',
                "'y' must hold class ids from 0 on, and -1 for unlabelled nodes only",
                got,
                'Number the classes from 0.',
            )
        )
    return y


def _check_split_sizes(train_per_class: int, val_per_class: int, num_splits: int) -> None:
    """Raise unless the sizes are not negative and there is at least one split."""
    sizes = {'train_per_class': train_per_class, 'val_per_class': val_per_class}
    for name, size in sizes.items():
        if size < 0:
            raise ValueError(
                explain('gen_masks', f"'{name}' must not be negative", size, 'Pass 0 or more.')
            )
    if num_splits < 1:
        raise ValueError(
            explain('gen_masks', "'num_splits' must be positive", num_splits, 'Pass at least 1.')
        )
