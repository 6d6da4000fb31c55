"""``pygas evaluate RUN``: exact accuracy of a trained model."""

from argparse import ArgumentParser
from collections.abc import Sequence

from ..training.objective import SPLITS, micro_f1_by_split
from .console import number, table
from .finished import add_run_arguments, load_run


def evaluate(arguments: Sequence[str]) -> int:
    """Run ``pygas evaluate``; returns the exit code."""
    parser = ArgumentParser('pygas evaluate', description='Exact accuracy of a trained model.')
    add_run_arguments(parser)
    run = load_run(parser.parse_args(arguments))
    scores = micro_f1_by_split(run.model(loader=run.loader), run.job.data)
    recorded = run.checkpoint.scores
    rows = [
        [
            split, f'{int(run.job.data[f"{split}_mask"].sum()):,}',
            f'{scores[split]:.2f}%', number(recorded.get(split), '.2f', '%'),
        ]
        for split in SPLITS
    ]  # fmt: skip
    print(f'epoch {run.checkpoint.epoch}')
    print(table(['split', 'nodes', 'accuracy', 'when trained'], rows))
    return 0
