"""Which software and which machine a number came from; nothing that names a person or place."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from .. import _version

PACKAGES = (
    'torch', 'torch_geometric', 'numpy', 'scipy', 'pymetis', 'kaminpar', 'hydra-core',
    'matplotlib', 'triton', 'torch-sparse',
)  # fmt: skip


def package_version(name: str) -> str | None:
    """Version of an installed distribution, or ``None``."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python, this library and the packages it can use, as far as installed."""
    found = {name: package_version(name) for name in PACKAGES}
    return {
        'torch_geometric_autoscale': _version.__version__,
        'python': platform.python_version(),
        **{name: version for name, version in found.items() if version is not None},
    }


def machine(device: torch.device | str = 'cpu') -> dict[str, Any]:
    """Processor, cores, memory, operating system and the device that computes."""
    device = torch.device(device)
    return {
        'cpu': cpu_model(),
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'ram_bytes': ram_bytes(),
        'os': f'{platform.system()} {platform.machine()}',
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type,
    }


def cpu_model() -> str:
    """Name of the processor as the system gives it."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text(errors='replace').splitlines():
            if line.lower().startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def ram_bytes() -> int | None:
    """Main memory, where the system tells."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, OSError, ValueError):
        return None
