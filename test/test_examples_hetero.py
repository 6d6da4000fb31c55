"""The examples and the benchmark of heterogeneous graphs run, on tiny stand-ins."""

import argparse
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

import torch_geometric_autoscale

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / 'docs' / 'heterogeneous.md').read_text('utf-8')


@pytest.fixture
def dblp(monkeypatch: pytest.MonkeyPatch) -> HeteroData:
    """30 authors, 50 papers, 20 terms and 3 venues in place of 26,128 nodes."""
    rng = torch.Generator().manual_seed(0)
    counts = {'author': 30, 'paper': 50, 'term': 20, 'conf': 3}
    data = HeteroData()
    for node_type, count in counts.items():
        if node_type == 'conf':
            data[node_type].num_nodes = count
        else:
            x = torch.randint(0, 2, (count, 6), generator=rng).float()
            data[node_type].x = x if node_type == 'term' else x.to_sparse_coo()
    data['author'].y = torch.randint(0, 4, (30,), generator=rng)
    for name in ('train_mask', 'val_mask', 'test_mask'):
        data['author'][name] = torch.ones(30, 3, dtype=torch.bool)
    for other in ('author', 'term', 'conf'):
        ends = [torch.randint(0, n, (90,), generator=rng) for n in (counts['paper'], counts[other])]
        data['paper', 'to', other].edge_index = torch.stack(ends)
        data[other, 'to', 'paper'].edge_index = torch.stack(ends[::-1])
    monkeypatch.setattr(
        torch_geometric_autoscale, 'get_data', lambda *_: (data, data.num_node_features, 4)
    )
    return data


@pytest.fixture
def small_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    data, in_channels, out_channels = torch_geometric_autoscale.get_data(None, 'wordnet')
    data = data.subgraph(torch.arange(800))
    data.train_mask[:] = True
    monkeypatch.setattr(
        torch_geometric_autoscale, 'get_data', lambda *_: (data, in_channels, out_channels)
    )


def run_example(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    runpy.run_path(str(ROOT / 'examples' / name), run_name='__main__')


def test_hetero_example_ends_with_what_the_plain_model_computes(dblp, monkeypatch, capsys):
    arguments = ('--epochs', '2', '--hidden', '8', '--parts', '5')
    run_example(monkeypatch, 'train_hetero.py', *arguments)
    out = capsys.readouterr().out
    assert len(re.findall(r'^history: ', out, re.MULTILINE)) == 4  # one layer, four node types
    assert len(re.findall(r'^epoch ', out, re.MULTILINE)) == 2
    assert float(re.findall(r'largest relative difference (\S+)', out)[0]) < 1e-4


def test_hetero_example_says_where_its_files_must_be(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r'(?s)must hold dblp_hetero.npz.*--root FOLDER'):
        run_example(monkeypatch, 'train_hetero.py', '--root', str(tmp_path))


def test_relations_example_compares_the_memory_of_steps(small_wordnet, monkeypatch, capsys):
    arguments = ('--epochs', '1', '--hidden', '4', '--parts', '32')
    run_example(monkeypatch, 'train_relations.py', *arguments)
    out = capsys.readouterr().out
    assert len(re.findall(r'^epoch ', out, re.MULTILINE)) == 1
    small, large = map(int, re.findall(r'batch (\d+) MiB, full (\d+) MiB', out)[0])
    assert small <= large


@pytest.mark.parametrize('model', ['to_hetero(GraphSAGE)', 'HeteroConv', 'HGTConv'])
def test_a_table_of_the_benchmark_on_dblp(dblp, monkeypatch, model):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    script = runpy.run_path(str(ROOT / 'benchmarks' / 'heterogeneous.py'))
    args = argparse.Namespace(
        models=[model], hidden=8, steps=4, every=2, parts=5, batch_size=2, seeds=2, split=0
    )
    (row,) = script['dblp_table'](dblp, 4, args)['rows']
    assert row[0] == model
    assert float(row[3]) < 1e-4 < float(row[4])  # refreshed histories are exact, stale ones not
    assert row[5] == '4'


def test_the_table_of_the_benchmark_on_wordnet(small_wordnet, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    script = runpy.run_path(str(ROOT / 'benchmarks' / 'heterogeneous.py'))
    args = argparse.Namespace(
        wordnet_hidden=4, wordnet_steps=4, wordnet_parts=4, wordnet_batch_size=2, wordnet_seeds=1
    )
    table = script['wordnet_table'](args)
    (row,) = table['rows']
    assert dict(zip(table['header'], row, strict=True))['histories'] == '1'
    assert float(row[4]) < 1e-4


def test_the_code_of_the_page_runs_as_written(dblp):
    (block,) = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
    names = {'data': dblp}
    exec(compile(block, 'heterogeneous.md', 'exec'), names)
    assert names['logits'].shape == (30, 4)


def test_links_of_the_page_lead_somewhere():
    prose = re.sub(r'```.*?```', '', PAGE, flags=re.DOTALL)
    links = re.findall(r'\]\(([^)#:]+)\)', prose)
    assert [link for link in links if not (ROOT / 'docs' / link).exists()] == []
