"""Every ready model passes the oracle in every option, and equals PyG's operators."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from test.oracle import (
    NODES,
    check_batch_statistics,
    check_inference,
    check_not_vacuous,
    check_oracle,
    error,
    nasty_graph,
    plain,
    sweep_loader,
)
from torch_geometric_autoscale import ScalableGNN, gcn_normalize, models

PLAIN = nasty_graph()
NORMALISED = gcn_normalize(PLAIN)
DEG = torch.bincount(torch.bincount(PLAIN.edge_index[1], minlength=NODES))
MANY = {'aggregators': ['mean', 'max', 'min', 'sum', 'std', 'var'], 'scalers': ['identity']}
SCALED = {
    'aggregators': ['mean', 'max'],
    'scalers': ['identity', 'amplification', 'attenuation', 'linear', 'inverse_linear'],
}
PAPER = {'aggregators': ['mean', 'max'], 'scalers': ['identity', 'amplification'], 'deg': DEG}

CASES: list[tuple[str, dict[str, Any]]] = [
    ('GAT', {}),
    ('GAT', {'hidden_heads': 3, 'out_heads': 2, 'drop_input': False, 'layers': 2}),
    ('APPNP', {'layers': 5}),
    ('APPNP', {'alpha': 0.4, 'drop_input': False, 'layers': 2}),
    ('GCN2', {}),
    ('GCN2', {'shared_weights': False, 'alpha': 0.3, 'theta': 1.0, 'layers': 6}),
    ('GCN2', {'residual': True, 'drop_input': False, 'theta': None}),
    ('GCN2', {'batch_norm': True, 'residual': True}),
    ('PNA', {**PAPER}),
    ('PNA', {**MANY, 'deg': DEG, 'residual': True}),
    ('PNA', {**SCALED, 'deg': DEG, 'drop_input': False}),
    ('PNA', {**PAPER, 'batch_norm': True, 'residual': True, 'layers': 4}),
    ('PNA_JK', {**PAPER}),
    ('PNA_JK', {**PAPER, 'residual': True, 'drop_input': False, 'layers': 4}),
    ('PNA_JK', {**PAPER, 'batch_norm': True, 'residual': True}),
    ('GIN', {'batch_norm': False}),
    ('GIN', {'batch_norm': False, 'residual': False, 'drop_input': False}),
    ('GIN', {'batch_norm': True}),
    ('GIN', {'batch_norm': False, 'perturbation': 2.0}),
    ('SAGE', {}),
    ('SAGE', {'aggr': 'max', 'residual': True, 'drop_input': False}),
    ('SAGE', {'linear': True, 'layers': 2}),
    ('SAGE', {'batch_norm': True, 'residual': True, 'linear': True}),
]


def label(value: Any) -> str:
    return value if isinstance(value, str) else '-'.join(value) or 'plain'


WEIGHTED = ('GCN', 'APPNP', 'GCN2')


def build(name: str, layers: int = 3, **options: Any) -> ScalableGNN:
    torch.manual_seed(8)
    return getattr(models, name)(NODES, 4, 6, 3, layers, **options).double()


def graph_for(name: str) -> Data:
    return NORMALISED if name in WEIGHTED else PLAIN


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize(('name', 'options'), CASES, ids=label)
def test_every_option_passes_the_oracle(name: str, options: dict, bipartite: bool) -> None:
    data = graph_for(name)
    loader = sweep_loader(data, bipartite=bipartite)
    statistics = name != 'GAT' and bool(options.get('batch_norm'))
    check_oracle(build(name, **options), data, loader, statistics=statistics)


@pytest.mark.parametrize('name', ['PNA', 'PNA_JK'])
def test_values_of_the_adjacency_weigh_the_messages_of_pna(name: str) -> None:
    model = build(name, **SCALED, deg=DEG)
    check_oracle(model, NORMALISED, sweep_loader(NORMALISED))


@pytest.mark.parametrize('name', ['GAT', 'APPNP', 'GCN2', 'PNA', 'PNA_JK', 'GIN', 'SAGE'])
def test_one_layer_is_a_model_too(name: str) -> None:
    model = build(name, 1, **(PAPER if name.startswith('PNA') else {})).eval()
    data = graph_for(name)
    expected = plain(model, data).detach()
    assert error(model(loader=sweep_loader(data)), expected) < 1e-9
    assert len(model.histories) == 0


def test_sixty_four_layers_are_exact() -> None:
    check_inference(build('GCN2', 64), NORMALISED, sweep_loader(NORMALISED, batch_size=2))


@pytest.mark.parametrize(('name', 'options'), CASES, ids=label)
def test_the_two_weight_decays_cover_every_parameter_once(name: str, options: dict) -> None:
    model = build(name, **options)
    decayed = [*model.reg_modules.parameters(), *model.nonreg_modules.parameters()]
    assert sorted(map(id, decayed)) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize('name', ['GAT', 'APPNP', 'GCN2', 'PNA', 'PNA_JK', 'GIN', 'SAGE'])
def test_reset_draws_every_weight_anew_and_empties_histories(name: str) -> None:
    model = build(name, **(PAPER if name.startswith('PNA') else {}))
    model.refresh(sweep_loader(graph_for(name)))
    before = copy.deepcopy(dict(model.named_parameters()))
    model.reset_parameters()
    assert not any(history.emb.any() for history in model.histories)
    for key, value in model.named_parameters():
        if value.dim() > 1:
            assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize('name', ['GAT', 'APPNP', 'GCN2', 'PNA', 'PNA_JK', 'GIN', 'SAGE'])
def test_sizes_of_buffers_are_accepted_and_dropout_acts_in_training_only(name: str) -> None:
    more = PAPER if name.startswith('PNA') else {}
    model = build(name, dropout=0.5, pool_size=2, buffer_size=9, device='cpu', **more)
    batch = next(iter(sweep_loader(graph_for(name))))
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


# Plain definitions ###############################################################


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def twin(module: torch.nn.Module, source: torch.nn.Module) -> torch.nn.Module:
    module.double().load_state_dict(source.state_dict())
    return module.eval()


@torch.no_grad()
def test_gcn_is_pygs_gcn_conv() -> None:
    model, x = build('GCN').eval(), PLAIN.x
    expected = x
    for i, conv in enumerate(model.convs):
        own = twin(pyg.GCNConv(conv.in_channels, conv.out_channels), conv)
        expected = own(expected, PLAIN.edge_index)
        expected = expected.relu() if i < 2 else expected
    same(model(loader=sweep_loader(NORMALISED)), expected)


@torch.no_grad()
def test_gat_is_pygs_gat_conv() -> None:
    model = build('GAT', hidden_heads=2, out_heads=3).eval()
    h = PLAIN.x
    for i, conv in enumerate(model.convs):
        last = i == len(model.convs) - 1
        own = pyg.GATConv(
            h.size(1), 3 if last else 6, 3 if last else 2, concat=not last, add_self_loops=False
        )
        h = twin(own, conv)(h, PLAIN.edge_index)
        h = h if last else F.elu(h)
    same(model(loader=sweep_loader(PLAIN)), h)


@torch.no_grad()
def test_appnp_is_pygs_appnp() -> None:
    model = build('APPNP', 7, alpha=0.2).eval()
    h = model.lins[1](model.lins[0](PLAIN.x).relu())
    same(model(loader=sweep_loader(NORMALISED)), pyg.APPNP(7, 0.2)(h, PLAIN.edge_index))


@torch.no_grad()
@pytest.mark.parametrize('shared', [True, False])
def test_gcn2_is_pygs_gcn2_conv(shared: bool) -> None:
    model = build('GCN2', 5, alpha=0.2, theta=0.7, shared_weights=shared).eval()
    h = first = model.encoder(PLAIN.x).relu()
    for i, conv in enumerate(model.convs):
        own = twin(pyg.GCN2Conv(6, 0.2, 0.7, i + 1, shared), conv)
        h = own(h, first, PLAIN.edge_index).relu()
    same(model(loader=sweep_loader(NORMALISED)), model.decoder(h))


@torch.no_grad()
@pytest.mark.parametrize('aggr', ['mean', 'max'])
def test_sage_is_pygs_sage_conv(aggr: str) -> None:
    model, h = build('SAGE', aggr=aggr).eval(), PLAIN.x
    for i, conv in enumerate(model.convs):
        own = twin(pyg.SAGEConv(conv.in_channels, conv.out_channels, aggr=aggr), conv)
        h = own(h, PLAIN.edge_index)
        h = h.relu() if i < 2 else h
    same(model(loader=sweep_loader(PLAIN)), h)


@torch.no_grad()
def test_gin_is_pygs_gin_conv() -> None:
    model = build('GIN').eval()
    h = model.encoder(PLAIN.x).relu()
    for conv in model.convs:
        own = twin(pyg.GINConv(copy.deepcopy(conv.nn), train_eps=True), conv)
        h = own(h, PLAIN.edge_index) + h
    same(model(loader=sweep_loader(PLAIN)), model.decoder(h))


# PNA by hand #####################################################################

# Edges 0 -> 2, 1 -> 2, 2 -> 0; nodes 0, 1, 2 have in-degrees 1, 0 and 2.
EDGES = torch.tensor([[0, 1, 2], [2, 2, 0]])
VALUES = torch.tensor([[1.0], [3.0], [5.0]])
LOG = (torch.tensor(2.0).log() + torch.tensor(3.0).log()) / 3  # mean log(d + 1)


def identity_pna(aggregator: str, scaler: str) -> torch.nn.Module:
    conv = models.LightPNAConv(1, 1, [aggregator], [scaler], torch.tensor([1, 1, 1]))
    for name, parameter in conv.named_parameters():
        value = 0.0 if 'bias' in name or 'skip' in name else 1.0
        torch.nn.init.constant_(parameter, value)
    return conv


@torch.no_grad()
@pytest.mark.parametrize(
    ('aggregator', 'scaler', 'expected'),
    [
        ('sum', 'identity', [5.0, 0.0, 4.0]),
        ('mean', 'identity', [5.0, 0.0, 2.0]),
        ('max', 'identity', [5.0, 0.0, 3.0]),
        ('min', 'identity', [5.0, 0.0, 1.0]),
        ('var', 'identity', [0.0, 0.0, 1.0]),
        ('std', 'identity', [0.0, 0.0, 1.0]),
        ('sum', 'linear', [5.0, 0.0, 8.0]),
        ('sum', 'inverse_linear', [5.0, 0.0, 2.0]),
        ('sum', 'amplification', [5 * 0.693147 / LOG, 0.0, 4 * 1.098612 / LOG]),
        ('sum', 'attenuation', [5 * LOG / 0.693147, 0.0, 4 * LOG / 1.098612]),
    ],
)
def test_light_pna_aggregates_and_scales(
    aggregator: str, scaler: str, expected: list[float]
) -> None:
    out = identity_pna(aggregator, scaler)(VALUES, EDGES)
    torch.testing.assert_close(out.view(-1), torch.tensor(expected))
    adj = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(3), (3, 3)).to_sparse_csr()
    if aggregator in ('sum', 'mean'):
        torch.testing.assert_close(identity_pna(aggregator, scaler)(VALUES, adj), out)


@torch.no_grad()
def test_light_pna_sums_its_pairs_and_adds_a_skip() -> None:
    torch.manual_seed(0)
    conv = models.LightPNAConv(1, 2, ['sum', 'max'], ['identity'], torch.tensor([1, 1, 1]))
    expected = conv.skip(VALUES)
    for before, after, rows in zip(
        conv.before, conv.after, ([[2], [], [0, 1]], [[2], [], [0, 1]]), strict=True
    ):
        h = before(VALUES).relu()
        summed = before is conv.before[0]
        pooled = [
            torch.zeros(2) if not r else h[r].sum(0) if summed else h[r].amax(0) for r in rows
        ]
        expected = expected + after(torch.stack(pooled))
    torch.testing.assert_close(conv(VALUES, EDGES), expected)


# The perturbation loss ###########################################################


def test_perturbation_loss_is_that_of_the_paper() -> None:
    """One hop on a graph of one batch, so that every tensor can be had from outside."""
    model = build('GIN', 2, perturbation=3.0, noise=0.5, batch_norm=False)
    torch.manual_seed(1)
    out, loss = model(PLAIN.x, PLAIN.edge_index)
    torch.manual_seed(1)
    x = model.encoder(PLAIN.x).relu()
    h = model.convs[0](x, PLAIN.edge_index) + x
    noisy = h + 0.5 * torch.randn_like(h)
    distance = [
        model.convs[1](rows, PLAIN.edge_index) + rows for rows in (h, noisy)
    ]  # fmt: skip
    same(loss, 3.0 * (distance[0] - distance[1]).norm(dim=-1).mean())
    same(out, model.decoder(distance[0]))


def test_perturbation_loss_reads_batch_rows_only_and_reaches_the_weights() -> None:
    model = build('GIN', 3, perturbation=1.0)
    batch = next(iter(sweep_loader(PLAIN)))
    out, loss = model(batch)
    assert out.shape == (batch.batch_size, 3)
    assert loss.dim() == 0
    loss.backward()
    assert all(p.grad is not None for p in model.convs[1:].parameters())


def test_perturbed_rows_leave_no_trace_in_running_statistics() -> None:
    plain_model, perturbed = build('GIN'), build('GIN', perturbation=1.0)
    batch = next(iter(sweep_loader(PLAIN)))
    plain_model(batch)
    perturbed(batch)
    found = dict(perturbed.named_buffers())
    for name, value in plain_model.named_buffers():
        torch.testing.assert_close(found[name], value)
    assert all(m.track_running_stats for m in perturbed.modules() if hasattr(m, 'running_mean'))


def test_no_perturbation_in_evaluation_and_inference() -> None:
    model = build('GIN', perturbation=1.0).eval()
    loader = sweep_loader(PLAIN)
    assert isinstance(model(next(iter(loader))), torch.Tensor)
    check_not_vacuous(model, PLAIN, loader)
    check_inference(model, PLAIN, loader)


def test_gin_sees_batch_rows_in_its_norms_with_the_perturbation_loss() -> None:
    model = build('GIN', perturbation=1.0)
    model.noise = 0.0
    check_batch_statistics(build('GIN'), PLAIN, sweep_loader(PLAIN))
    _, loss = model(next(iter(sweep_loader(PLAIN))))
    assert float(loss.detach()) == 0.0


# Refused #########################################################################

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ('GCN', {'dropout': 1.5}, r"GCN: 'dropout' must lie in \[0, 1\] \(got 1.5\)"),
    ('APPNP', {'alpha': -1}, r"APPNP: 'alpha' must lie in \[0, 1\] \(got -1\)"),
    ('GIN', {'noise': -0.1}, r"GIN: 'noise' must not be negative \(got -0.1\)"),
    ('GIN', {'perturbation': float('nan')}, r"GIN: 'perturbation' must not be negative \(got nan"),
    ('GAT', {'hidden_heads': 0}, r"GAT: 'hidden_heads' must be a whole number from 1 on \(got 0\)"),
    ('GAT', {'out_heads': 1.5}, r"GAT: 'out_heads' must be a whole number from 1 on \(got 1.5\)"),
    ('GCN2', {'alpha': 3}, r"GCN2: 'alpha' must lie in \[0, 1\] \(got 3\)"),
    ('GCN2', {'theta': -2}, r"GCN2: 'theta' must not be negative \(got -2\)"),
    ('GCN', {'dropout': 'half'}, r"GCN: 'dropout' must lie in \[0, 1\] \(got half\)"),
    ('PNA', {**PAPER, 'aggregators': ['median']}, r"'aggregators' must be a list of names among"),
    ('PNA', {**PAPER, 'scalers': 'identity'}, r"'scalers' must be a list .* \(got 'identity'\)"),
    ('PNA', {**PAPER, 'scalers': []}, r"'scalers' must be a list of names among identity, amp"),
    ('PNA', {**PAPER, 'deg': torch.zeros(3)}, r"'deg' must count nodes by their in-degree"),
]


@pytest.mark.parametrize(('name', 'options', 'message'), REFUSED)
def test_options_out_of_range_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **options)


ALL: dict[str, dict[str, Any]] = {
    'GCN': {}, 'GAT': {}, 'APPNP': {}, 'GCN2': {}, 'PNA': PAPER, 'PNA_JK': PAPER, 'GIN': {},
    'SAGE': {},
}  # fmt: skip


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('position', range(1, 5))
@pytest.mark.parametrize('wrong', [-2, 4.0, '4', True, None])
def test_sizes_must_be_whole_and_positive(name: str, position: int, wrong: Any) -> None:
    size = ('in_channels', 'hidden_channels', 'out_channels', 'num_layers')[position - 1]
    sizes = [NODES, 4, 6, 3, 2]
    sizes[position] = wrong
    with pytest.raises(ValueError, match=f"^{name}: '{size}' must be a whole number from"):
        getattr(models, name)(*sizes, **ALL[name])
    if position > 1:
        sizes[position] = 0
        with pytest.raises(ValueError, match=f"'{size}' must be a whole number from 1 on"):
            getattr(models, name)(*sizes, **ALL[name])


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('whole', [np.int64, torch.tensor])
def test_sizes_may_be_those_of_numpy_and_pytorch(name: str, whole: Any) -> None:
    model = getattr(models, name)(NODES, 4, whole(6), whole(3), whole(2), **ALL[name])
    graph = graph_for(name)
    assert plain(model.double(), graph).shape == (NODES, 3)


@pytest.mark.parametrize('name', ['GCN', 'GAT', 'SAGE'])
def test_the_width_of_features_may_be_left_to_the_first_ones(name: str) -> None:
    model = getattr(models, name)(NODES, -1, 6, 3, 2).double()
    assert plain(model, graph_for(name)).shape == (NODES, 3)
    if name != 'GAT':
        with pytest.raises(ValueError, match="'in_channels' must be a whole number from 0 on"):
            getattr(models, name)(NODES, -1, 6, 3, 2, linear=True)


# Edge dropout ####################################################################


def test_edges_are_dropped_in_training_only_and_rescaled() -> None:
    model = build('APPNP', 1, alpha=0.0)
    handle = models.drop_edges_in_training(model, 0.5)
    batch = next(iter(sweep_loader(NORMALISED)))
    seen = []
    model.props[0].register_forward_pre_hook(lambda _, args: seen.append(args[1].values()))
    whole = batch.adj_t.values()
    torch.manual_seed(0)
    for _ in range(2):
        model(batch)
    assert not torch.equal(seen[0], seen[1])
    for values in seen:
        kept = values != 0
        assert 0 < int(kept.sum()) < values.numel()
        same(values[kept], 2 * whole[kept])
    model.eval()(batch)
    assert torch.equal(seen[2], whole)
    handle.remove()
    model.train()(batch)
    assert torch.equal(seen[3], whole)


DROPS: list[tuple[str, dict[str, Any]]] = [
    ('GIN', {'batch_norm': False}), ('SAGE', {}), ('SAGE', {'aggr': 'max'}), ('PNA', PAPER),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'options'), DROPS, ids=label)
def test_dropped_edges_reach_models_that_read_no_weights(name: str, options: dict) -> None:
    model = build(name, 1, dropout=0.0, **options)
    batch = next(iter(sweep_loader(PLAIN)))
    whole = model(batch)
    models.drop_edges_in_training(model, 0.9)
    assert error(model(batch).detach(), whole.detach()) > 0.01
    same(model.eval()(batch), whole)


def test_attention_sees_no_dropped_edges() -> None:
    model = build('GAT', 1, dropout=0.0)
    batch = next(iter(sweep_loader(PLAIN)))
    whole = model(batch)
    models.drop_edges_in_training(model, 0.9)
    same(model(batch), whole)


def test_a_mean_and_degree_scalers_count_dropped_edges() -> None:
    conv = models.PNA(NODES, 4, 6, 6, 1, ['mean'], ['linear'], DEG).convs[0].double()
    edge_index, x = PLAIN.edge_index, PLAIN.x.double()
    half = x.new_ones(edge_index.size(1))
    half[::2] = 0
    degree = torch.bincount(edge_index[1], minlength=NODES).double().view(-1, 1)
    messages = half.view(-1, 1) * conv.before[0](x).relu()[edge_index[0]]
    sums = x.new_zeros(NODES, 6).index_add(0, edge_index[1], messages)
    mean = conv.after[0](degree / conv.mean_degree * sums / degree.clamp(min=1))
    same(conv(x, edge_index, half), conv.skip(x) + mean)
