"""The true error of histories: by its definition, and without a trace."""

import copy

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

from torch_geometric_autoscale import (
    EvalSubgraphLoader,
    History,
    SubgraphLoader,
    autoscale,
    models,
)
from torch_geometric_autoscale.error_meter import HistoryError, measuring
from torch_geometric_autoscale.history_errors import history_error

from .test_staleness import EDGES, PTR, TwoBoundaries, path_loader
from .training.tiny import tiny_data, tiny_model, tiny_ptr


def by_definition(old, new):
    distances, lengths = (old - new).norm(dim=1), new.norm(dim=1)
    relative = (old - new).norm() / new.norm()
    return [float(value) for value in (
        relative, distances.mean() / lengths.mean(), distances.max() / lengths.mean(),
    )]  # fmt: skip


def values(error):
    return [error.relative, error.mean_row, error.max_row]


def trained(num_layers=3, **options):
    """A model with histories of a sweep, and a loader over its graph."""
    model, loader = tiny_model(num_layers=num_layers, **options), SubgraphLoader(
        tiny_data(), tiny_ptr(), batch_size=2, log=False
    )  # fmt: skip
    for batch in loader:
        model(batch)
    return model, loader


@pytest.mark.parametrize('bipartite', [True, False])
def test_errors_are_those_of_a_refresh(bipartite):
    model, _ = trained(batch_norm=True)
    loader = EvalSubgraphLoader(tiny_data(), tiny_ptr(), 3, bipartite, log=False)
    errors = history_error(model, loader)
    before = [history.pull() for history in model.histories]
    model.refresh(loader)
    for error, old, history in zip(errors, before, model.histories, strict=True):
        assert values(error) == pytest.approx(by_definition(old, history.pull()), rel=1e-5)
        assert error.relative > 0.01


def test_one_row_counts_by_its_share():
    model, loader = TwoBoundaries(), path_loader()
    model.refresh(loader)
    rows = model.histories[0].pull()
    rows[2] = 0.0
    model.histories[0].push(rows)
    first, second = history_error(model, loader)
    fresh = rows.clone()
    model.refresh(loader)
    fresh = model.histories[0].pull()
    assert first.max_row == pytest.approx(float(fresh[2].norm() / fresh.norm(dim=1).mean()))
    assert first.mean_row == pytest.approx(first.max_row / 4)
    assert second.relative < 1e-6


def test_histories_are_exact_after_a_refresh():
    model, loader = trained()
    model.refresh(loader)
    assert all(max(values(error)) < 1e-6 for error in history_error(model, loader))


def test_histories_of_zeros_are_wholly_off():
    model, loader = tiny_model(num_layers=3), trained()[1]
    errors = history_error(model, loader)
    assert [values(error)[:2] for error in errors] == [pytest.approx([1.0, 1.0])] * 2


def test_a_history_and_fresh_rows_of_zeros_are_no_error():
    model, loader = TwoBoundaries(), path_loader()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert history_error(model, loader) == [HistoryError(0.0, 0.0, 0.0)] * 2


def test_nothing_is_changed():
    model, loader = trained(batch_norm=True, dropout=0.5)
    model.train()
    model.convs[0].eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    random = torch.get_rng_state()
    history_error(model, loader)
    assert [m.training for m in model.modules()] == modes
    assert torch.get_rng_state().equal(random)
    for name, value in model.state_dict().items():
        value, before = (v['emb'] if isinstance(v, dict) else v for v in (value, state[name]))
        assert value.equal(before), name


def test_a_model_that_draws_random_numbers_in_evaluation_leaves_the_state():
    class Noisy(TwoBoundaries):
        def forward(self, x, adj_t, *args):
            return super().forward(x + 0.1 * torch.randn(x.shape), adj_t, *args)

    model, loader = Noisy(), path_loader()
    random = torch.get_rng_state()
    history_error(model, loader)
    assert torch.get_rng_state().equal(random)


def test_a_cache_is_not_disturbed():
    model, loader = trained(num_layers=2)
    history = model.histories[0] = History(24, 8, cache_size_in_bytes=1000)
    model.refresh(loader)
    history.pull(torch.tensor([1, 2]))
    reads = history.store.num_reads
    assert values(*history_error(model, loader)) == pytest.approx([0, 0, 0], abs=1e-6)
    assert history.store.num_reads == reads


@pytest.mark.parametrize(('dtype', 'bound'), [('bfloat16', 2**-8), ('int8', 1 / 100)])
def test_narrow_types_show_their_rounding(dtype, bound):
    model, loader = trained(num_layers=2)
    model.histories[0].move_to(dtype=dtype)
    model.refresh(loader)
    (error,) = history_error(model, loader)
    assert 0 < error.relative < bound


def test_a_converted_module_is_measured_as_any_model():
    data = Data(x=torch.randn(4, 5), edge_index=EDGES)
    gas = autoscale(GraphSAGE(5, 4, 3, 2), data, partition=(torch.arange(4), PTR))
    for batch in gas.loader():
        gas(batch)
    errors = history_error(gas)
    assert errors == history_error(gas, gas.loader())
    before = [history.pull() for history in gas.histories]
    gas.refresh()
    for error, old, history in zip(errors, before, gas.histories, strict=True):
        expected = by_definition(old, history.pull())
        assert values(error) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert errors[1].relative > 0.01


def test_several_node_types_are_measured():
    from .test_staleness import Bipartite, bipartite_data

    data, part = bipartite_data()
    gas = autoscale(Bipartite(), data, partition=part)
    assert [values(error)[:2] for error in history_error(gas)] == [pytest.approx([1, 1])] * 2
    with measuring() as meter:
        gas.refresh()
    measured = [error.relative for error in meter.errors(list(gas.histories))]
    assert measured == pytest.approx([1, 1])
    assert [error.relative for error in history_error(gas)] == pytest.approx([0, 0], abs=1e-6)


def test_a_refresh_measures_on_its_way():
    model, loader = trained()
    expected = history_error(model, loader)
    with measuring() as meter:
        model.refresh(loader)
    assert meter.errors(list(model.histories)) == expected


def test_a_batch_without_halo_is_measured():
    model, _ = trained()
    loader = EvalSubgraphLoader(tiny_data(), tiny_ptr(), batch_size=6, log=False)
    several = EvalSubgraphLoader(tiny_data(), tiny_ptr(), batch_size=2, log=False)
    for one, other in zip(history_error(model, loader), history_error(model, several), strict=True):
        assert values(one) == pytest.approx(values(other), rel=1e-4)


def test_a_model_of_one_layer_has_no_error():
    model = models.GCN(24, 5, 8, 3, 1)
    assert history_error(model, trained()[1]) == []


# Bad input ###########################################################################


def test_a_loader_over_another_graph_is_refused():
    model, _ = trained()
    data = tiny_data()
    data.edge_index = data.edge_index[:, 2:]
    loader = EvalSubgraphLoader(data, tiny_ptr(), log=False)
    with pytest.raises(ValueError, match='history_error: the batch must come from the graph'):
        history_error(model, loader)


def test_a_loader_over_more_nodes_is_refused():
    with pytest.raises(ValueError, match=r'the histories hold 4 nodes .got a loader over 24.'):
        history_error(TwoBoundaries(), trained()[1])


@pytest.mark.parametrize('loader', [None, 3])
def test_what_is_no_loader_is_refused(loader):
    message = "history_error: 'loader' must be a SubgraphLoader"
    with pytest.raises(TypeError, match=message):
        history_error(TwoBoundaries(), loader)


def test_a_converted_module_refuses_what_is_no_loader():
    data = Data(x=torch.randn(4, 5), edge_index=EDGES)
    gas = autoscale(GraphSAGE(5, 4, 2, 2), data, partition=(torch.arange(4), PTR))
    with pytest.raises(TypeError, match=r"must be one of the converted model's .got str."):
        history_error(gas, 'loader')


def test_a_plain_module_is_refused():
    with pytest.raises(TypeError, match="history_error: 'model' must have histories"):
        history_error(GraphSAGE(5, 4, 2, 2), path_loader())
