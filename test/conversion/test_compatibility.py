"""Every operator and node-level model of PyG is exact on batches, or refused: never wrong."""

import re
from dataclasses import replace

import pytest
import torch
import torch_geometric.nn
from torch_geometric.data import Data

from scripts.compatibility.__main__ import PAGE, sweep, without_errors
from scripts.compatibility.building import build, data_of
from scripts.compatibility.cases import Case, Catalogue, all_cases, catalogues
from scripts.compatibility.catalogue.outside import OUTSIDE
from scripts.compatibility.graphs import PARTS, everything, partition
from scripts.compatibility.oracle import Sweeper
from scripts.compatibility.outcome import EXACT, REFUSED, UNAVAILABLE, Outcome, run
from scripts.compatibility.report import TITLES, page
from scripts.compatibility.rows import WrongRows, error, joined
from torch_geometric_autoscale import autoscale

SAMPLE = {
    'MessagePassing': 'attention, edge features, own update',
    'GCNConv': 'edge weights',
    'SAGEConv': 'default',
    'GATConv': 'edge features',
    'GINConv': 'MLP with BatchNorm',
    'GraphConv': 'max, edge weights',
    'TAGConv': 'K=3, edge weights',
    'APPNP': 'K=3',
    'ARMAConv': 'two stacks, three layers',
    'PNAConv': 'all scalers',
    'TransformerConv': 'two heads, beta',
    'GCN2Conv': 'theta, layer',
    'RGCNConv': 'default',
    'GENConv': 'default',
    'FAConv': 'default',
}
REFUSED_SAMPLE = {
    'GPSConv': 'attention alone',
    'WLConv': 'colors',
    'GCN': 'norm=graph_norm',
    'Pooling over all nodes': 'global mean',
    'Mean over all nodes': 'SAGE',
    'Number of nodes in the formula': 'SAGE',
}
NEEDS_OTHER_PACKAGES = {
    'CuGraphSAGEConv', 'CuGraphGATConv', 'CuGraphRGCNConv', 'FusedGATConv', 'GravNetConv',
    'SplineConv', 'DynamicEdgeConv', 'XConv', 'PANConv',
}  # fmt: skip


def case_of(name: str, option: str, depth: int = 2) -> Case:
    (found,) = (c for c in all_cases() if (c.name, c.option, c.depth) == (name, option, depth))
    return found


@pytest.mark.parametrize(('name', 'option'), SAMPLE.items())
def test_operator_is_exact(name, option):
    outcome = run(case_of(name, option))
    assert (outcome.status, outcome.reason) == (EXACT, ''), outcome.trace
    assert outcome.measures['stale'] > 1e-2  # the histories were needed


@pytest.mark.parametrize(('name', 'option'), REFUSED_SAMPLE.items())
def test_what_no_batch_can_compute_is_refused(name, option):
    outcome = run(case_of(name, option))
    assert outcome.status == REFUSED, outcome.reason + outcome.trace


# The catalogue ###################################################################


def test_every_operator_is_in_the_catalogue():
    names = torch_geometric.nn.conv.__all__
    assert list(catalogues()['operators']) == names
    assert len(names) >= 66


def test_every_model_is_in_the_catalogue_or_has_a_reason():
    assert {*catalogues()['models'], *OUTSIDE} == set(torch_geometric.nn.models.__all__)
    assert not {*catalogues()['models']} & {*OUTSIDE}


def test_every_aggregation_is_in_the_catalogue():
    assert {*catalogues()['aggregations'], 'Aggregation'} == set(torch_geometric.nn.aggr.__all__)


def test_the_graph_has_what_goes_wrong():
    edge_index = everything('general').edge_index
    row, col = edge_index
    assert int((row == col).sum()) >= 6
    assert edge_index.unique(dim=1).size(1) < edge_index.size(1)
    assert int(torch.bincount(col).max()) >= 40  # a hub
    assert int(torch.bincount(row).max()) >= 40
    assert edge_index.max() < everything('general').num_nodes - 1  # isolated nodes
    assert not bool((col[1:] >= col[:-1]).all())  # in no order
    assert partition().unique().numel() == PARTS


# The oracle ######################################################################


def test_the_oracle_finds_what_is_wrong():
    case = case_of('Number of nodes in the formula', 'SAGE')
    module, twin, data = build(case), build(case), data_of(case)
    gas = autoscale(module, data, partition=partition(), verify=False)
    measures = Sweeper(gas, module, twin, case, data).measure()
    assert measures['refreshed'] > 1e-2
    assert measures['gradients, part'] > 1e-2
    assert measures['gradients, whole'] < 1e-9  # that batch is the whole graph


def test_the_error_is_relative_to_the_largest_number():
    expected = {'': torch.tensor([[4.0, -8.0]])}
    assert error({'': torch.tensor([[4.0, -6.0]])}, expected) == 0.25
    assert error({'': torch.tensor([[4.0, float('nan')]])}, expected) == float('inf')
    assert error({'': torch.tensor([4.0, -8.0])}, expected) == float('inf')


def test_rows_are_put_in_the_order_of_the_data():
    first = Data(n_id=torch.tensor([2, 0, 1]), batch_size=1)
    second = Data(n_id=torch.tensor([1, 0]), batch_size=2)
    out = joined([(first, torch.tensor([[2.0]])), (second, torch.tensor([[1.0], [0.0]]))])
    assert out[''].tolist() == [[0.0], [1.0], [2.0]]
    with pytest.raises(WrongRows, match='2 rows for 1 batch nodes'):
        joined([(first, torch.zeros(2, 1))])
    with pytest.raises(WrongRows, match='every node once'):
        joined([(first, torch.zeros(1, 1))])


# The page ########################################################################


def tables(text: str) -> dict[str, list[list[str]]]:
    """The rows of each section's table."""
    found = {}
    for section in text.split('\n## ')[1:]:
        lines = [line for line in section.splitlines() if line.startswith('| ')]
        found[section.splitlines()[0]] = [
            [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in lines[1:]
        ]
    return {title: rows for title, rows in found.items() if rows}


def test_the_page_has_one_row_an_operator_and_no_empty_cell():
    found = tables(PAGE.read_text('utf-8'))
    advice = found.pop('What to do instead')
    assert all(len(row) == 2 and all(row) for row in advice)
    for (title, *_), catalogue in zip(TITLES.values(), catalogues_in_order(), strict=True):
        assert [row[0].strip('`') for row in found[title]] == list(catalogue)
    for row in (row for rows in found.values() for row in rows):
        assert len(row) == 4, row
        assert all(row), row
        assert row[2] in (EXACT, REFUSED, UNAVAILABLE), row


def catalogues_in_order() -> list[Catalogue]:
    return [catalogues()[table] for table in TITLES]


def test_a_row_says_which_options_are_refused():
    case = case_of('GCNConv', 'default')
    others = [replace(case, option=option) for option in ('reversed', 'turned')]
    said = 'ValueError: GCNConv: edges must be as they are (got {} | them). Leave them.'
    text = page(
        [
            Outcome(case, EXACT, measures={'refreshed': 2e-16, 'stale': 0.1}),
            *(Outcome(other, REFUSED, said.format(other.option)) for other in others),
        ]
    )
    assert (
        '| `GCNConv` | default; reversed (*refused*); turned (*refused*) | exact | 2e-16<br>'
        '*reversed; turned*: edges must be as they are (for reversed: got reversed \\| them) |'
    ) in text
    assert '| edges must be as they are | Leave them. |' in text
    assert '| Operators | 1 | 0 | 0 | 0 | 0 |' in text


def test_the_page_shows_at_least_48_exact_operators():
    rows = tables(PAGE.read_text('utf-8'))['Operators']
    assert sum(row[2] == EXACT for row in rows) >= 48


@pytest.fixture(scope='module')
def outcomes() -> list[Outcome]:
    return sweep([])


@pytest.mark.slow
def test_no_operator_and_no_model_is_wrong(outcomes):
    assert [(str(o.case), o.status, o.reason) for o in outcomes if o.failed] == []


@pytest.mark.slow
def test_the_histories_of_everything_exact_were_needed(outcomes):
    exact = [o for o in outcomes if o.status == EXACT and o.case.depth > 1]
    assert [str(o.case) for o in exact if o.measures['stale'] < 1e-4] == []


@pytest.mark.slow
def test_only_what_needs_other_packages_does_not_run(outcomes):
    found = {o.case.name for o in outcomes if o.case.table == 'operators'}
    running = {o.case.name for o in outcomes if o.status != UNAVAILABLE}
    assert found - running <= NEEDS_OTHER_PACKAGES


@pytest.mark.slow
def test_the_page_is_what_the_sweep_gives(outcomes):
    assert without_errors(page(outcomes)) == without_errors(PAGE.read_text('utf-8'))
