"""Run an experiment: every seed that has no record yet, one record each."""

import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ..cli.job import adds_self_loops, build_model, find_device, parts_per_batch
from ..files import explained
from ..training import build_record, train, write_record
from .experiment import Experiment
from .graphs import Loaded, RunGraph, cut, load
from .records import finished_records, partial_path, record_path
from .subgraphs import train_on_subgraphs


class Interrupted(Exception):
    """Ctrl-C ended an experiment; its finished runs and the state of the last one are kept."""


def run_experiment(experiment: Experiment) -> list[float]:
    """Run what has not been run, print early statistics and, at the end, the result.

    Returns:
        Test scores in percent, in the order of the seeds.

    Raises:
        Interrupted: At Ctrl-C. The same call goes on from there.
        ValueError: If the folder belongs to other settings, or the training diverges.
    """
    device = find_device(experiment.settings['device'])
    records = finished_records(experiment)
    done = [seed for seed in experiment.seeds if seed in records]
    if done:
        print(f'{len(done)} of {len(experiment.seeds)} runs are there: {experiment.folder}')
    loaded: Loaded | None = None
    for seed in experiment.seeds:
        if seed not in records:
            loaded = load(experiment) if loaded is None else loaded
            records[seed] = _run_seed(experiment, loaded, seed, device)
            done.append(seed)
            print(_progress(seed, records[seed], [records[s] for s in done]), flush=True)
    scores = [test_score(records[seed]) for seed in experiment.seeds]
    print(f'test {mean_and_deviation(scores)}')
    return scores


def _run_seed(
    experiment: Experiment, loaded: Loaded, seed: int, device: torch.device
) -> dict[str, Any]:
    graph = cut(experiment, loaded, seed)
    model = build_model(graph.settings, graph.job).to(device)
    batch_size = parts_per_batch(graph.settings, graph.job.ptr)
    chosen = experiment.settings
    subgraphs = chosen['mode'] == 'subgraph'
    stateless = chosen['fake'] or subgraphs  # not worth it; for comparison only
    states = None if stateless else partial_path(experiment, seed)
    _make_folder(experiment)
    settings = experiment.train_settings(seed, batch_size)
    if subgraphs:
        at_random = chosen['partition'] == 'random'
        run = train_on_subgraphs(
            model, graph.job, settings, at_random, graph.evaluate, graph.unnormalized,
            adds_self_loops(graph.settings),
        )  # fmt: skip
    else:
        run = train(
            model, graph.job.data, graph.job.ptr, settings, checkpoints=states,
            resume=states is not None, evaluate=graph.evaluate,
            log=sys.stderr.isatty(),
        )  # fmt: skip
    if run.interrupted:
        raise Interrupted
    record = build_record(
        {**chosen, 'seed': seed}, [run], _about_partition(graph, batch_size), device
    )
    if chosen['fake']:
        record['fake'] = _about_stand_in(graph, batch_size)
    _make_folder(experiment)  # hours after the first time
    write_record(record_path(experiment, seed), record)
    if states is not None:
        shutil.rmtree(states, ignore_errors=True)
    return record


def _make_folder(experiment: Experiment) -> None:
    try:
        experiment.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        rule = "'out' must be a folder to write to"
        raise explained(error, experiment.suite.who, rule, experiment.folder) from error


def _about_partition(graph: RunGraph, batch_size: int) -> dict[str, Any]:
    assert graph.job.quality is not None
    return {
        **asdict(graph.job.quality),
        'method': graph.settings['partition'],
        'num_parts': graph.job.ptr.numel() - 1,
        'batch_size': batch_size,
    }


def _about_stand_in(graph: RunGraph, batch_size: int) -> dict[str, Any]:
    """What was really run, where the settings tell of the data set itself."""
    return {
        'num_nodes': graph.job.data.num_nodes,
        'num_features': graph.job.in_channels,
        'num_parts': graph.job.ptr.numel() - 1,
        'batch_size': batch_size,
        'hidden_channels': graph.settings['model']['hidden_channels'],
    }


# Numbers #############################################################################


def test_score(record: dict[str, Any]) -> float:
    """Test score in percent of the record's only run."""
    return float(record['runs'][0]['test'])


test_score.__test__ = False  # type: ignore[attr-defined]  # no test, whatever its name


def mean_and_deviation(scores: Sequence[float]) -> str:
    """Mean and sample standard deviation, ``71.18 ± 0.97``; a single run deviates by 0."""
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f'{statistics.fmean(scores):.2f} ± {deviation:.2f}'


def _progress(seed: int, record: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    run: dict[str, Any] = record['runs'][0]
    so_far = mean_and_deviation([test_score(r) for r in records])
    return (
        f'seed {seed}: test {run["test"]:.2f}, val {run["val"]:.2f} at epoch {run["best_epoch"]} '
        f'of {len(run["epochs"])}, {run["seconds"]:.1f} s; mean of {len(records)}: {so_far}'
    )
