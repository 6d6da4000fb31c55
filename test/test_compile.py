"""Dense parts of a model can be compiled; the rest of it runs as ever."""

import shutil

import pytest
import torch
from torch_geometric.nn import GCNConv

from test.oracle import PTR, nasty_graph, sweep_loader
from torch_geometric_autoscale import ScalableGNN, SubgraphLoader


class Dense(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = torch.nn.LayerNorm(8), torch.nn.Linear(8, 8)

    def forward(self, x):
        return self.linear(self.norm(x).relu())


class Net(ScalableGNN):
    def __init__(self):
        super().__init__(20, 8, 2)
        self.first, self.dense, self.second = GCNConv(4, 8), Dense(), GCNConv(8, 3)

    def forward(self, x, adj_t, batch_size, n_id, offset, count):
        x = self.first(x, adj_t)
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id, offset, count)
        return self.second(self.dense(x), adj_t)[:batch_size]


def outputs(backend):
    """What training steps, their gradients and a refresh give."""
    torch.manual_seed(0)
    model, data = Net(), nasty_graph(torch.float32)
    if backend is not None:
        model.dense.compile(dynamic=True, backend=backend)
    found = []
    for _ in range(2):
        for batch in SubgraphLoader(data, PTR, log=False):
            out = model(batch)
            out.square().sum().backward()
            found.append(out.detach())
    found += [model.refresh(sweep_loader(data)), *(p.grad for p in model.parameters())]
    return found


@pytest.fixture
def dynamo():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


@pytest.mark.slow  # PyTorch's compiler takes long to load
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('backend', ['aot_eager', 'inductor'])
def test_a_compiled_dense_part_changes_nothing(backend, dynamo):
    if backend == 'inductor' and shutil.which('g++') is None:
        pytest.skip('needs a C++ compiler')
    plain, compiled = outputs(None), outputs(backend)
    for a, b in zip(compiled, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert dynamo['stats']['unique_graphs'] > 0
    assert not dynamo['graph_break']
