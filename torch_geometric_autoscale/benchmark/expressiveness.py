"""Whether GIN with histories tells apart what the Weisfeiler-Leman test tells apart."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from ..errors import explain
from ..files import write_json
from ..loader import EvalSubgraphLoader, SubgraphLoader
from ..models import GIN
from ..partition import partition, partition_quality, permute
from ..training.machine import machine, versions
from .graph_pairs import PAIRS, GraphPair, wl_rounds

KIND = 'expressiveness'
METHODS = ('random', 'metis')
NUM_PARTS, WIDTH, EPOCHS, LR = 4, 32, 30, 0.003
DEEPEST = 4  # layers for pairs that no number of rounds tells apart
TOLD_APART, EXACT = 1e-6, 1e-9  # relative to the largest output, float64


def measure_expressiveness(
    pairs: Mapping[str, GraphPair] = PAIRS,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = EPOCHS,
    log: bool = False,
) -> dict[str, Any]:
    """Train GIN on every pair, with as many layers as 1-WL takes rounds and with one less.

    See :func:`measure_pair`. A pair that 1-WL does not tell apart gets :data:`DEEPEST` layers.

    Returns:
        A record: settings, versions, machine, one entry per pair, layers, method and seed.
    """
    asked = [
        (name, rounds, layers, method, seed)
        for name, rounds in ((name, wl_rounds(pair)) for name, pair in pairs.items())
        for layers in ([DEEPEST] if rounds is None else sorted({max(rounds - 1, 1), rounds}))
        for method in METHODS
        for seed in seeds
    ]
    measured = []
    for name, rounds, layers, method, seed in tqdm(asked, disable=not log):
        found = measure_pair(pairs[name], layers, method, seed, epochs)
        measured.append(
            {'pair': name, 'num_nodes': pairs[name].num_nodes, 'rounds': rounds, 'layers': layers,
             'partition': method, 'seed': seed, **found}
        )  # fmt: skip
    settings = {
        'model': 'gin', 'hidden_channels': WIDTH, 'num_parts': NUM_PARTS, 'epochs': epochs,
        'lr': LR, 'dtype': 'float64', 'told_apart': TOLD_APART, 'exact': EXACT,
    }  # fmt: skip
    return {
        'record_version': 1, 'kind': KIND, 'settings': settings, 'versions': versions(),
        'machine': machine('cpu'), 'measured': measured,
    }  # fmt: skip


def measure_pair(
    pair: GraphPair, layers: int, method: str, seed: int, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Train GIN to tell the two graphs' nodes apart, then sweep its histories at rest.

    The two are one graph, cut into :data:`NUM_PARTS` parts, one per batch. Once trained, the
    weights are frozen, the histories filled with random numbers, and swept until a sweep gives
    what the whole graph gives. The graphs are told apart if their rows, as multisets, differ.

    Returns:
        ``edge_cut``; ``difference``: largest between the two multisets, relative to the largest
        output; ``sweeps`` until the outputs are exact, ``None`` if never; ``told_apart``.
    """
    data = pair.to_data()
    perm, ptr = partition(data, NUM_PARTS, method, seed=seed, log=False)
    data = permute(data, perm, log=False)
    torch.manual_seed(seed)
    model = GIN(data.num_nodes, 1, WIDTH, 2, layers, batch_norm=False, residual=False).double()
    _train(model, SubgraphLoader(data, ptr, shuffle=True, log=False), epochs)
    out, sweeps = _sweep_until_exact(model, data, EvalSubgraphLoader(data, ptr, log=False))
    one, other = (_in_order(out[data.y == graph]) for graph in (0, 1))
    difference = float((one - other).abs().max() / out.abs().max())
    return {
        'edge_cut': partition_quality(data, torch.arange(data.num_nodes), ptr).edge_cut,
        'difference': difference,
        'sweeps': sweeps,
        'told_apart': difference > TOLD_APART,
    }


def _train(model: GIN, loader: SubgraphLoader, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    for _ in range(epochs):
        for batch in loader:
            loss = F.cross_entropy(model(batch), batch.y[: batch.batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def _sweep_until_exact(
    model: GIN, data: Data, loader: EvalSubgraphLoader
) -> tuple[Tensor, int | None]:
    model.eval()
    exact = model(data.x, data.edge_index)
    histories: Any = model.histories
    for history in histories:
        history.push(torch.randn_like(history.pull()))
    out = exact.new_zeros(exact.shape)
    for sweep in range(1, model.num_layers + 2):
        out = torch.cat([model(batch) for batch in loader])
        if float((out - exact).abs().max() / exact.abs().max()) < EXACT:
            return out, sweep
    return out, None


def _in_order(rows: Tensor) -> Tensor:
    """The same rows in an order that depends on nothing but themselves."""
    return rows[(rows @ torch.linspace(1, 2, rows.size(1), dtype=rows.dtype)).argsort()]


# Record and table ####################################################################


def write_expressiveness(path: str | Path, log: bool = True) -> None:
    """Measure, and write the record."""
    write_json(path, measure_expressiveness(log=log))


def render_expressiveness(record: Mapping[str, Any]) -> str:
    """The table of a record, in markdown: one row per pair and depth.

    Raises:
        ValueError: If the record is of another kind or version.
    """
    whole = (record.get('kind'), record.get('record_version')) == (KIND, 1)
    if not whole or 'measured' not in record:
        raise ValueError(
            explain('pygas report', f"the record must be of kind '{KIND}' and version 1",
                    f'{record.get("kind")!r}, {record.get("record_version")!r}',
                    'Measure it anew.')
        )  # fmt: skip
    lines = [
        '| pair | nodes | rounds of 1-WL | layers of GIN | parts | told apart | difference '
        '| sweeps |',
        '| --- | ---: | ---: | ---: | --- | --- | ---: | ---: |',
    ]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for entry in record['measured']:
        key = tuple(entry[k] for k in ('pair', 'num_nodes', 'rounds', 'layers', 'partition'))
        groups.setdefault(key, []).append(entry)
    before: tuple[Any, ...] = ()
    for key, entries in groups.items():
        name, nodes, rounds, layers, method = key
        shown = [name, nodes, 'never' if rounds is None else rounds]
        cells = [
            *(['', '', ''] if before[:3] == key[:3] else shown),
            '' if before[:4] == key[:4] else layers,
            'METIS' if method == 'metis' else method,
            _told_apart(entries),
            _number(statistics.median(entry['difference'] for entry in entries)),
            _sweeps(entries),
        ]
        lines.append(f'| {" | ".join(map(str, cells))} |')
        before = key
    return '\n'.join(lines)


def _told_apart(entries: Sequence[Mapping[str, Any]]) -> str:
    yes = sum(entry['told_apart'] for entry in entries)
    words = 'yes' if yes == len(entries) else 'no' if yes == 0 else 'partly'
    return f'{words} ({yes} of {len(entries)})'


def _number(value: float) -> str:
    return f'{value:.0e}' if value else '0'


def _sweeps(entries: Sequence[Mapping[str, Any]]) -> str:
    sweeps = [entry['sweeps'] for entry in entries]
    if None in sweeps:
        return 'never'
    low, high = min(sweeps), max(sweeps)
    return f'{low}' if low == high else f'{low} to {high}'
