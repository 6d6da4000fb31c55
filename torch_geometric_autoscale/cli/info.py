"""``pygas info``: versions, devices, and which optional parts are there."""

from argparse import ArgumentParser
from collections.abc import Sequence

import torch

from ..partition import available_methods
from ..training.machine import machine, package_version, versions
from .console import result, table

OPTIONAL = {
    'pymetis': 'METIS partitions',
    'kaminpar': 'KaMinPar partitions',
    'hydra-core': "'pygas train'",
    'matplotlib': 'pictures',
    'pyarrow': "tables in 'pygas convert'",
    'tensorboard': "'pygas train tensorboard=true'",
    'scipy': "some of PyG's data sets",
    'psutil': 'memory of the process in benchmarks',
    'triton': 'GPU kernels',
    'torch-sparse': 'SparseTensor as input',
    'ogb': 'OGB data sets',
}


def info(arguments: Sequence[str]) -> int:
    """Run ``pygas info``; returns the exit code."""
    ArgumentParser('pygas info', description=__doc__).parse_args(arguments)
    here = machine()
    rows = [[name, version] for name, version in versions().items() if name not in OPTIONAL]
    print(_left(rows))
    ram = here['ram_bytes']
    print(_left([
        ['processor', f"{here['cpu']}, {here['os']}"],
        ['cores / threads', f"{here['cores']} / {here['threads']}"],
        ['memory', '-' if ram is None else f'{ram / 2**30:.1f} GiB'],
        *([f'device {i}', torch.cuda.get_device_name(i)] for i in range(torch.cuda.device_count())),
        *([] if torch.cuda.is_available() else [['device', 'cpu only']]),
        ['partitioners', ', '.join(available_methods())],
    ]))  # fmt: skip
    found = [
        [name, package_version(name) or 'not installed', use] for name, use in OPTIONAL.items()
    ]
    print(table(['optional part', 'version', 'for'], found))
    result(', '.join(f'{name} {version}' for name, version, *_ in rows))
    return 0


def _left(rows: Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'{name:<26} {value}' for name, value in rows) + '\n'
