"""The examples, the page and the benchmark of ``autoscale`` run, on a piece of WordNet."""

import argparse
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

import torch_geometric_autoscale

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / 'docs' / 'from_neighbor_loader.md').read_text('utf-8')
SCRIPTS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Data:
    """1,500 synsets in place of 117,659."""
    data, in_channels, out_channels = torch_geometric_autoscale.get_data(None, 'wordnet')
    data = data.subgraph(torch.arange(1500))
    data.train_mask[:] = True
    monkeypatch.setattr(
        torch_geometric_autoscale, 'get_data', lambda *_: (data, in_channels, out_channels)
    )
    return data


def run_example(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    runpy.run_path(str(ROOT / 'examples' / name), run_name='__main__')


def test_any_model_example_ends_with_a_checkpoint_of_the_plain_model(small, monkeypatch, capsys):
    run_example('autoscale_any_model.py', '--epochs', '2', '--hidden', '8', monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert "SAGEConv 'convs.1': 8 channels" in out
    assert len(re.findall(r'^epoch ', out, re.MULTILINE)) == 2
    difference = float(re.findall(r'largest relative difference (\S+)', out)[0])
    assert difference < 1e-4
    assert 'histories in the checkpoint are those of the training: True' in out


@pytest.mark.filterwarnings('ignore')  # Lightning's own
def test_lightning_keeps_the_histories_in_its_checkpoint(small, monkeypatch, capsys):
    pytest.importorskip('lightning', reason="needs the extra 'lightning'")
    run_example('lightning_module.py', '--epochs', '1', '--hidden', '8', monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert 'histories in the checkpoint are those of the training: True' in out
    assert 'epoch 2  validation accuracy' in out  # the resumed run


def test_the_page_shows_both_scripts():
    assert ['NeighborLoader' in script for script in SCRIPTS] == [True, False]
    assert ['autoscale(' in script for script in SCRIPTS] == [False, True]


@pytest.mark.parametrize('script', SCRIPTS, ids=['NeighborLoader', 'autoscale'])
def test_scripts_of_the_page_run(script: str, small, tmp_path, monkeypatch):
    if 'NeighborLoader' in script and not (WITH_PYG_LIB or WITH_TORCH_SPARSE):
        pytest.skip('NeighborLoader needs pyg-lib or torch-sparse')
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(script.replace('EPOCHS = 10', 'EPOCHS = 1'), 'page', 'exec'), names)
    assert names['logits'].shape == (1500, 45)  # type: ignore[attr-defined]
    assert Path('model.pt').exists()


def test_links_of_the_page_lead_somewhere():
    links = re.findall(r'\]\(([^)#]+)\)', PAGE)
    missing = [link for link in links if not (ROOT / 'docs' / link).exists()]
    assert set(missing) <= {'compatibility.md'}  # written by scripts/compatibility


def test_one_row_of_the_benchmark(small, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    script = runpy.run_path(str(ROOT / 'benchmarks' / 'autoscale.py'))
    args = argparse.Namespace(hidden=8, layers=2, parts=4, batch_size=1, rounds=1, repeats=1)
    tiny = script['clustered_graph'](64, 128, 4, num_features=16, num_classes=8)
    row = script['row_of']('GCN', small, tiny, args)
    assert row[0] == 'GCN'
    assert all(float(cell) == float(cell) for cell in row[1:])
