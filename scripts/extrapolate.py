"""What ogbn-papers100M would take, worked out from the records of ``benchmarks/scale.py``.

Seconds per node and bytes per node are measured; what is made of them here is extrapolation.
"""

import math
from typing import Any

NODES, EDGES, FEATURES, CLASSES = 111_059_956, 1_615_685_872, 128, 172
BOUNDARIES = 2  # of a model with three layers
WIRE = 1.25e9  # bytes a second, 10 Gbit/s
STAGES = {
    'partition': 'partition', 'write': 'write in the order of the parts', 'prepare': 'prepare',
    'epoch': 'an epoch', 'refresh': 'a refresh, which evaluates too',
}  # fmt: skip

Table = tuple[list[str], list[list[str]]]


def can_be_worked_out(scale: dict[str, Any], papers: dict[str, Any]) -> bool:
    """Whether the records have the stages that this needs."""
    whole = [(scale, '1M'), (scale, '10M'), (papers, '1M')]
    stages = [record['settings']['measured'].get(size, {}) for record, size in whole]
    return all('epoch' in found.get('limited', {}) for found in stages)


def median(entry: dict[str, Any], name: str) -> float:
    seconds = sorted(pair[0] for pair in entry[name])
    return (seconds[(len(seconds) - 1) // 2] + seconds[len(seconds) // 2]) / 2


def seconds(measured: dict[str, Any], nodes: int, name: str, stage: str = 'limited') -> float:
    """Seconds per node; of training with everything on the disk, where there is a choice."""
    entry = measured['partition' if name in ('partition', 'write') else stage]
    return median(entry, name) / nodes


def hours(scale: dict[str, Any], papers: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Of each stage: microseconds per node measured, growth over ten times the nodes, hours."""
    large, small = (scale['settings']['measured'][size] for size in ('10M', '1M'))
    shaped = papers['settings']['measured']['1M']
    decades = math.log10(NODES / 10**6)
    found = {}
    for name in STAGES:
        growth = seconds(large, 10**7, name) / seconds(small, 10**6, name)
        here = seconds(shaped, 10**6, name)
        found[name] = here * 1e6, growth, here * NODES * growth**decades / 3600
    return found


def hours_table(scale: dict[str, Any], papers: dict[str, Any]) -> Table:
    header = ['', 'µs per node, measured at 1M', 'from 1M to 10M, measured', 'hours, worked out']
    rows = [
        [STAGES[name], f'{here:.2f}', f'x {growth:.2f}', f'{total:.2f}']
        for name, (here, growth, total) in hours(scale, papers).items()
    ]
    return header, rows


def disk(channels: int) -> dict[str, int]:
    """Bytes of everything that lies on the disk; ids take 4 bytes below 2^31 edges."""
    graph = NODES * (4 * FEATURES + 4 + 8 + 3) + 4 * EDGES
    return {
        'the graph: features, edges, labels, masks': graph,
        'the same in the order of the parts': graph + 8 * NODES,
        'normalised edges with self-loops': 8 * (EDGES + NODES) + 4 * NODES,
        f'{BOUNDARIES} histories of {channels} channels': BOUNDARIES * 4 * channels * NODES,
        'outputs of a refresh': 4 * CLASSES * NODES,
    }


def memory(scale: dict[str, Any]) -> tuple[float, float]:
    """Bytes of the process's data per node, between 1M and 10M, and at 111M nodes."""
    large, small = (scale['settings']['measured'][size] for size in ('10M', '1M'))
    per_node = (large['limited']['data'] - small['limited']['data']) / (10**7 - 10**6)
    return per_node, large['limited']['data'] + per_node * (NODES - 10**7)


def sizes_table(scale: dict[str, Any], papers: dict[str, Any]) -> Table:
    channels = papers['settings']['channels']
    per_node, data = memory(scale)
    rows = [[f'disk: {name}', f'{size / 1e9:.1f}'] for name, size in disk(channels).items()]
    rows += [
        ['**disk, together**', f'**{sum(disk(channels).values()) / 1e9:.1f}**'],
        [f"**memory: the process's data**, {per_node:.0f} bytes per node measured",
         f'**{data / 1e9:.1f}**'],
    ]  # fmt: skip
    return ['', 'GB'], rows


def machines_table(scale: dict[str, Any], papers: dict[str, Any]) -> Table:
    """Equal shares of nodes, and every halo row fetched from another machine."""
    found, channels = hours(scale, papers), papers['settings']['channels']
    halo = scale['settings']['measured']['10M']['partition']['halo']
    pulled = halo * NODES * 4 * (FEATURES + BOUNDARIES * channels)
    whole = sum(disk(channels).values()) / 1e9
    rows = []
    for count in (1, 2, 4, 8):
        moved = 0.0 if count == 1 else pulled / count / WIRE / 3600
        rows.append([
            f'{count}', f'{whole / count:.0f}', f'{memory(scale)[1] / count / 1e9:.1f}',
            f'{found["epoch"][2] / count:.2f}', f'{moved:.2f}',
            f'{found["epoch"][2] / count + moved:.2f}',
        ])  # fmt: skip
    header = [
        'machines', 'disk (GB each)', 'memory (GB each)', 'hours of computing an epoch',
        'hours of fetching at most', 'together',
    ]  # fmt: skip
    return header, rows
