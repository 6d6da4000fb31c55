"""Imports point one way, and importing the package stays cheap."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = 'torch_geometric_autoscale'
ROOT = Path(__file__).parent.parent / PACKAGE

# A module imports only modules above it, wherever in its code the import stands.
ORDER = [
    '_version', 'errors', 'sizes', 'progress', 'files', 'ahead',
    'graph_folder.header', 'graph_folder.arrays', 'graph_folder.folder', 'graph_folder.part',
    'graph_folder.writer', 'graph_folder.edge_chunks', 'graph_folder.spool',
    'graph_folder.placing', 'graph_folder.merging', 'graph_folder',
    'kernels.support', 'kernels.rows_triton', 'kernels.rows', 'kernels.spmm_triton',
    'kernels.spmm', 'kernels',
    # graph
    'mapped', 'edges', 'grouped', 'graph_input', 'graph', 'normalize', 'bucket_sort', 'batching',
    'lazy', 'tags',
    'sparse_product', 'torch_csr', 'csr_tensor', 'row_pattern', 'sparse_rows', 'batch_edges',
    'adjacency', 'batch', 'prepared', 'metrics',
    # partition
    'partition.simple_graph', 'partition.contract', 'partition.matrices', 'partition.cache',
    'partition.quality', 'partition.random_backend', 'partition.level', 'partition.clustering',
    'partition.growing', 'partition.refinement', 'partition.label_propagation_backend',
    'partition.streamed_level', 'partition.streaming', 'partition.ldg_backend',
    'partition.kaminpar_backend', 'partition.metis_backend', 'partition.dispatch',
    'partition.rewrite', 'partition.reorder', 'partition',
    # engine
    'history.encoding', 'history.medium', 'history.memory', 'history.disk', 'history.store',
    'history.table', 'history.cache', 'history.tiers', 'history.history', 'history.move',
    'history.summary', 'history',
    'transfer.runtime', 'transfer.simulated', 'transfer.cuda', 'transfer.buffers',
    'transfer.worker', 'transfer.lane', 'transfer.ways', 'transfer.choice', 'transfer.pool',
    'transfer.moves', 'transfer.placing', 'transfer',
    'staleness', 'error_meter',
    'calls', 'provenance', 'by_hand', 'ways', 'guard', 'watcher', 'gcn_norm', 'chebyshev',
    'quantiles', 'hooks', 'refusals', 'operator_forms', 'cheaper_orders', 'sequences', 'operators',
    'safetensors_file', 'stored_rows', 'loader_input', 'loader', 'ops', 'boundary', 'norms',
    'steps',
    'interception', 'batch_run', 'leavings', 'trace', 'forward_key', 'trace_memory', 'step_tables',
    'hook_effects', 'inference',
    'arguments',
    'scalable', 'prefetch',
    # conversion
    'conversion.boundaries', 'conversion.rows', 'conversion.inputs', 'conversion.given',
    'conversion.loader',
    'conversion.source', 'conversion.node_parameters', 'conversion.caches',
    'conversion.piece', 'conversion.parts', 'conversion.whole', 'conversion.finder',
    'conversion.passes',
    'conversion.conversion', 'conversion.hetero_graph', 'conversion.hetero_loader',
    'conversion.hetero_norm', 'conversion.hetero_source', 'conversion.hetero_whole',
    'conversion.levels',
    'conversion.verification', 'conversion.planning', 'conversion.autoscaled',
    'conversion.as_model', 'conversion', 'history_errors',
    # models and data
    'models.edge_dropout', 'models.limits',
    'models.base', 'models.stack', 'models.gcn', 'models.sage',
    'models.gat', 'models.appnp', 'models.gcn2', 'models.pna_conv', 'models.pna', 'models.pna_jk',
    'models.gin', 'models',
    'datasets.npz', 'datasets.embedded', 'datasets.pyg', 'datasets.large', 'datasets.many_graphs',
    'datasets.hetero_npz', 'datasets.sbm', 'datasets.registry', 'datasets',
    # conversion of files
    'ingest.text_lines', 'ingest.table', 'ingest.csv_table', 'ingest.parquet_table',
    'ingest.columns', 'ingest.node_ids', 'ingest.node_table', 'ingest.edge_list',
    'ingest.job_state', 'ingest.rows', 'ingest.npz_file', 'ingest.npz_graph',
    'ingest.memory_graph', 'ingest.options', 'ingest.job', 'ingest.from_graph',
    'ingest.from_tables', 'ingest.convert', 'ingest',
    'synthetic.recipe', 'synthetic.blocks', 'synthetic.matching', 'synthetic.nodes',
    'synthetic.generate', 'synthetic',
    # training
    'training.interrupts', 'training.epoch_order', 'training.schedule',
    'training.interval', 'training.settings',
    'training.results', 'training.log_file', 'training.tensorboard',
    'training.reporter', 'training.objective', 'training.allocated',
    'training.step_memory',
    'training.tree', 'training.container', 'training.run_lock', 'training.checkpoint',
    'training.checkpoint_folder', 'training.saver', 'training.random_state', 'training.run_state',
    'training.loop', 'training.machine', 'training.record', 'training.plots', 'training',
    # planner
    'planner.terms', 'planner.choice', 'planner.process', 'planner.facts', 'planner.fit',
    'planner.measure', 'planner.tables', 'planner.text', 'planner.halos', 'planner.pieces',
    'planner.wishes', 'planner.shape', 'planner.graphs', 'planner.subject', 'planner.trial',
    'planner.costs',
    'planner.needs', 'planner.device', 'planner.calibration', 'planner.plan', 'planner.traffic',
    'planner.remedies', 'planner.prediction', 'planner.planner', 'planner.planning', 'planner',
    # command line
    'cli.allocator', 'cli.torch_log', 'cli.console', 'cli.options', 'cli.help', 'cli.cut_graph',
    'cli.job',
    'cli.finished', 'cli.run_folder', 'cli.keywords', 'cli.planned_job', 'cli.plan', 'cli.train',
    'cli.evaluate', 'cli.predict', 'cli.info',
    'cli.convert', 'cli.generate',
    # benchmark suites
    'benchmark.suite', 'benchmark.help', 'benchmark.arguments', 'benchmark.ignored',
    'benchmark.stand_in', 'benchmark.experiment', 'benchmark.graphs', 'benchmark.records',
    'benchmark.history_error', 'benchmark.subgraphs', 'benchmark.run', 'benchmark.graph_pairs',
    'benchmark.expressiveness', 'benchmark.collect', 'benchmark.tables', 'benchmark.bars',
    'benchmark.again', 'benchmark.pictures', 'benchmark.report',
    'cli.report', 'cli.main', 'benchmark.main', 'benchmark', 'cli',
]  # fmt: skip

OPTIONAL = [
    'hydra', 'omegaconf', 'matplotlib', 'pymetis', 'kaminpar', 'ogb', 'triton', 'lightning',
    'pytorch_lightning', 'psutil', 'pandas', 'scipy', 'torch_sparse', 'pyarrow', 'tensorboard',
]  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module of the package but its root, by dotted name."""
    found = {}
    for path in ROOT.rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    del found['']
    return found


def imported_by(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a module imports, anywhere in its code."""
    home = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    targets = []
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            targets += [alias.name.split('.') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [PACKAGE, *home[: len(home) - node.level + 1]] if node.level else []
            base = inside + (node.module.split('.') if node.module else [])
            targets += [[*base, alias.name] for alias in node.names]
    found = set()
    for top, *rest in targets:
        if top == PACKAGE:
            whole, parent = '.'.join(rest), '.'.join(rest[:-1])
            found.add(whole if whole in known else parent)
    return found - {name}


def test_every_module_has_its_place_in_the_order():
    assert set(modules()) == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize('name', ORDER)
def test_modules_import_only_modules_above_them(name):
    known = modules()
    above = set(ORDER[: ORDER.index(name)])
    assert imported_by(name, known[name], known) <= above


def test_the_rule_sees_every_kind_of_import(tmp_path):
    path = tmp_path / 'loop.py'
    path.write_text(
        'from . import record\nfrom .. import _version\nfrom ..errors import explain\n'
        'def later():\n    from torch_geometric_autoscale.history import History\n'
        'import torch_geometric_autoscale.graph\nimport torch\n'
    )
    found = imported_by('training.loop', path, modules())
    assert found == {'training.record', '_version', 'errors', 'history', 'graph'}


def modules_after(statement: str) -> set[str]:
    code = f'{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_package_imports_nothing_optional_and_little_beyond_pyg():
    pyg = modules_after('import torch_geometric.nn, torch_geometric.data')
    ours = modules_after(f'import {PACKAGE}') - pyg
    assert not [name for name in ours if name.split('.')[0] in OPTIONAL]
    # Seconds are printed by benchmarks/import_time.py.
    others = sorted(name for name in ours if name.split('.')[0] != PACKAGE)
    assert len(others) <= 20, others


def test_the_version_can_be_read_without_importing_torch():
    text = (ROOT / '_version.py').read_text('utf-8')
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
