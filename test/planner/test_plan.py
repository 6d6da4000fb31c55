import copy

import pytest
import torch

from torch_geometric_autoscale import SubgraphLoader, models, permute
from torch_geometric_autoscale.planner import GraphShape, plan, planner, prediction
from torch_geometric_autoscale.planner.calibration import Calibration
from torch_geometric_autoscale.planner.process import in_use_bytes
from torch_geometric_autoscale.training import step_peak_bytes
from torch_geometric_autoscale.training.objective import classification_loss

from ..on_disk import on_disk, some_graph
from ..training.tiny import tiny_data, tiny_model
from .made import costs

MB, GB = 10**6, 10**9


def make(num_nodes):
    torch.manual_seed(0)
    return models.GCN(num_nodes, 5, 8, 3, 2)


@pytest.fixture
def known(monkeypatch):
    """A model that costs what is said in ``made.py``, in a process that takes 100 MB."""
    changes = {}
    monkeypatch.setattr(Calibration, 'costs', lambda self, keep, size: costs(**changes))
    monkeypatch.setattr(planner, 'bytes_in_use', lambda device: 100 * MB)
    monkeypatch.setattr(prediction.Traffic, '_try', lambda self, tier, dtype, width: (
        {'ram': 1e-6, 'disk': 1e-4}[tier], 1e-6))  # fmt: skip
    return changes


def quick(data=None, model=None, memory='1GB', **options):
    data = tiny_data() if data is None else data
    return plan(data, model or make, memory, log=False, partition='lp', **options)


# Without stand-ins ###############################################################


def test_a_plan_tells_settings_needs_and_costs():
    data = some_graph(3000, 20_000)
    made = plan(data, make, '4GB', num_parts=12, log=False, partition='lp')
    assert made.fits
    choice = made.choice
    assert (choice.num_parts, choice.history_tier, choice.history_dtype) == (12, 'ram', 'float32')
    assert made.ptr.numel() == 13
    assert sorted(made.perm.tolist()) == list(range(3000))
    assert made.table_bytes == 3000 * 8 * 4
    assert made.pushed_rows == 3000
    assert made.pulled_bytes == made.pulled_rows * 32
    assert made.seconds_per_epoch > 0
    assert made.seconds_per_evaluation > 0
    # The prediction of a step, against what it takes on the real batch.
    ready = permute(data, made.perm, log=False)
    loader = SubgraphLoader(
        ready, made.ptr, choice.batch_size, log=False, input_nodes=ready.train_mask
    )
    batch = max(loader, key=lambda batch: batch.num_nodes)

    def forward_backward(model):
        mask = batch.input_mask
        classification_loss(model(batch)[mask], batch.y[: batch.batch_size][mask]).backward()

    measured = step_peak_bytes(
        make(3000), lambda m: torch.optim.Adam(m.parameters()), forward_backward,
        torch.device('cpu'),
    )  # fmt: skip
    assert made.needs.step_peak == pytest.approx(measured, rel=0.15)


def test_the_graph_may_be_a_folder(tmp_path):
    on_disk(some_graph(300, 2000), tmp_path / 'graph')
    before = sorted(path.name for path in (tmp_path / 'graph').iterdir())
    made = plan(tmp_path / 'graph', make, '4GB', num_parts=4, log=False)
    assert made.fits
    assert 'permute' not in made.needs.phases
    assert made.needs.phases['training']['graph and features'] == 4
    assert made.ptr.numel() == 5
    assert sorted(path.name for path in (tmp_path / 'graph').iterdir()) == before


def test_a_model_stays_as_it_is():
    model = tiny_model().eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    assert quick(model=model, num_parts=3, memory='100GB').fits
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(value, before[name]) for name, value in model.state_dict().items()
        if torch.is_tensor(value)
    )  # fmt: skip
    assert model.histories[0].num_embeddings == 24


# Choices #########################################################################


def test_what_was_asked_for_is_kept(known):
    made = quick(
        num_parts=6, batch_size=2, history_tier='disk', history_dtype='int8', history_cache='1kB'
    )
    choice = made.choice
    assert (choice.num_parts, choice.batch_size, choice.history_tier) == (6, 2, 'disk')
    assert (choice.history_dtype, choice.history_cache) == ('int8', 1000)
    assert 'cache of histories' in made.needs.phases['training']


def test_memory_is_the_first_choice(known):
    choice = quick(num_parts=6).choice
    assert (choice.history_tier, choice.history_dtype) == ('ram', 'float32')


def test_histories_go_to_the_disk_where_memory_lacks(known):
    known |= {'widths': (10**6,)}  # 96 MB for 24 nodes
    assert quick(num_parts=6, memory='400MB').choice.history_tier == 'ram'
    made = quick(num_parts=6, memory='180MB')
    assert (made.choice.history_tier, made.choice.history_dtype) == ('disk', 'float32')


def test_histories_are_rounded_where_only_that_fits_the_tier(known):
    known |= {'widths': (10**6,)}
    made = quick(num_parts=6, memory='180MB', history_tier='ram')
    assert (made.choice.history_tier, made.choice.history_dtype) == ('ram', 'bfloat16')


def test_batches_get_smaller_and_parts_finer_until_a_step_fits(known):
    large = costs().step_peak.__class__(per_row=5 * MB)  # 5 MB for a node of a batch
    known |= {'loop_peak': costs().loop_peak.__class__((large,))}
    data = some_graph(400, 2000)
    wide = quick(data, memory='3GB')
    assert (wide.choice.num_parts, wide.choice.batch_size) == (8, 1)
    made = quick(data, memory='320MB')
    assert made.fits
    assert made.choice.num_parts > 8
    assert made.needs.largest.rows < 40


def test_a_given_partition_is_taken(known):
    made = quick(ptr=torch.tensor([0, 8, 16, 24]))
    assert made.choice.num_parts == 3
    assert made.perm is None
    assert made.ptr.tolist() == [0, 8, 16, 24]
    assert 'partition' not in made.needs.phases


def test_the_first_propagation_is_given_up_first(known):
    known |= {'kept': costs().kept.__class__(product_per_node=4 * MB)}
    made = quick(num_parts=6, memory='150MB')
    assert made.fits
    assert not made.choice.keep_first_propagation
    assert made.notes == ['the first propagation is computed anew in every step: it would not fit']


# Plans that do not fit ###########################################################


def test_a_plan_that_cannot_fit_says_what_is_too_large(known):
    known |= {'parameters': 200 * MB}
    made = quick(num_parts=6, memory='300MB')
    assert not made.fits
    assert made.problem.startswith(
        "Largest in the phase 'training': best weights, 400 MB. Use fewer channels or layers."
    )
    with pytest.raises(ValueError, match=r"^plan: 'memory' must be 7\d\d MB at least for the "
                       r'leanest plan found \(got 300 MB\)\. Largest'):  # fmt: skip
        made.check()


def test_the_memory_it_asks_for_is_enough(known):
    known |= {'parameters': 200 * MB}
    lacking = quick(num_parts=6, memory='300MB')
    assert quick(num_parts=6, memory=lacking.total).fits
    assert not quick(num_parts=6, memory=lacking.total - MB).fits


def test_a_wish_that_is_in_the_way_is_named(known):
    known |= {'widths': (10**6,)}
    made = quick(num_parts=6, memory='180MB', history_tier='ram', history_dtype='float32')
    assert not made.fits
    assert made.problem == (
        "Largest in the phase 'evaluation': histories, 96.0 MB (besides the 100 MB of the process "
        'itself). Keep them on disk (tier=disk), or rounded (dtype=int8). Without '
        'history.tier=ram it would fit: 1 of 6 parts per batch, histories in float32 (tier=disk), '
        '117 MB.'
    )


def test_smaller_batches_are_proposed_where_a_larger_one_was_asked_for(known):
    large = costs().step_peak.__class__(per_row=5 * MB)
    known |= {'loop_peak': costs().loop_peak.__class__((large,))}
    made = quick(num_parts=6, batch_size=6, memory='160MB')
    assert not made.fits
    assert 'Without batch_size=6 it would fit: 1 of 6 parts per batch' in made.problem


def test_no_memory_at_all_beside_the_process_is_told():
    used = in_use_bytes()
    with pytest.raises(ValueError, match="plan: 'memory' must be more than this process takes"):
        quick(memory=used // 2)


def test_a_partitioner_without_room_is_not_started(known, monkeypatch):
    monkeypatch.setattr(planner, 'partition_work', lambda method, facts: 500 * MB)
    with pytest.raises(ValueError, match=r'plan: .memory. must have 557 MB for the partitioner '
                       r'\(lp\) beside the 100 MB in use \(got 300 MB\)'):  # fmt: skip
        quick(memory='300MB')


def test_a_model_larger_than_the_memory_is_told():
    used = in_use_bytes()

    def large(num_nodes):
        return models.GCN(num_nodes, 5, 3000, 3, 3)  # 36 MB, four times

    with pytest.raises(ValueError, match="plan: 'memory' must hold the model itself: parameters, "
                       'gradients and optimizer take 144 MB, besides '):  # fmt: skip
        quick(model=large, memory=used + 60 * MB, num_parts=3)


# Shapes ##########################################################################


def test_a_shape_is_planned_for_and_called_an_estimate(known):
    made = quick({'num_nodes': 10**6, 'num_edges': 10**7, 'num_features': 8}, memory='4GB')
    assert made.choice.num_parts == 500
    assert made.notes[0].startswith('an estimate: the graph is not at hand')
    assert (made.perm, made.ptr) == (None, None)
    same = quick(GraphShape(10**6, 10**7, 8), memory='4GB')
    assert str(same) == str(made)


def test_a_shape_in_a_folder_takes_no_memory_for_its_edges(known):
    shape = GraphShape(10**6, 10**7, 8, mapped=True)
    training = quick(shape, memory='4GB').needs.phases['training']
    assert training['graph and features'] == 0


def test_the_graph_of_a_plan_that_does_not_fit_goes_to_a_folder(known):
    shape = GraphShape(10**6, 10**7, 800)
    made = quick(shape, memory='2GB')
    assert 'graph and features, 3.41 GB' in made.problem
    assert 'pygas convert' in made.problem


# Bad input #######################################################################


@pytest.mark.parametrize(('options', 'text'), [
    ({'memory': '8QB'}, r"plan: 'memory' must be a number of bytes from 1 on \(got '8QB'\)"),
    ({'memory': 0}, "plan: 'memory' must be a number of bytes from 1 on"),
    ({'num_parts': 0}, r"plan: 'num_parts' must be 'auto' or a positive number \(got 0\)"),
    ({'num_parts': 25}, r"plan: 'num_parts' must be at most 24, the number of nodes \(got 25\)"),
    ({'num_parts': 2.5}, "plan: 'num_parts' must be 'auto' or a positive number"),
    ({'batch_size': -1}, "plan: 'batch_size' must be 'auto' or a positive number"),
    ({'batch_size': True}, "plan: 'batch_size' must be 'auto' or a positive number"),
    ({'history_tier': 'tape'}, "plan: 'tier' must be one of ram, pinned, device, disk"),
    ({'history_dtype': 'int4'}, "plan: 'history_dtype' must be one of auto, float64, float32"),
    ({'history_cache': 'much'}, "plan: 'history_cache' must be a number of bytes"),
    ({'partition': 'best'}, r"plan: 'partition' must be auto or one installed: .* \(got 'best'\)"),
    ({'ptr': torch.tensor([0, 8])}, r"plan: 'ptr' must"),
    ({'ptr': torch.tensor([0, 24]), 'num_parts': 4}, 'plan: the graph is cut into 1 parts'),
])  # fmt: skip
def test_wrong_settings_are_told(options, text):
    options = {'memory': '4GB', 'partition': 'lp', **options}
    with pytest.raises(ValueError, match=text):
        plan(tiny_data(), make, log=False, **options)


@pytest.mark.parametrize(('shape', 'text'), [
    ({'num_nodes': 5}, r'plan: a shape has num_nodes, num_edges, num_features .* \(got num_nodes'),
    ({'num_nodes': 5, 'num_edges': 5, 'num_features': 5, 'degree': 3}, 'plan: a shape has'),
    ({}, r'\(got nothing\)'),
    ({'num_nodes': 0, 'num_edges': 5, 'num_features': 5}, "GraphShape: 'num_nodes' must be a"),
    ({'num_nodes': 5, 'num_edges': 5.0, 'num_features': 5}, "GraphShape: 'num_edges' must be"),
    ({'num_nodes': 5, 'num_edges': 5, 'num_features': 5, 'halo': -1}, "GraphShape: 'halo' must be"),
    ({'num_nodes': 5, 'num_edges': 5, 'num_features': 5, 'mapped': 1}, "GraphShape: 'mapped' must"),
])  # fmt: skip
def test_wrong_shapes_are_told(shape, text):
    with pytest.raises(ValueError, match=text):
        plan(shape, make, '4GB')


def test_what_is_no_graph_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"plan: 'data_or_shape' must be a Data, .*\(got int\)"):
        plan(3, make, '4GB')
    with pytest.raises(FileNotFoundError, match="plan: a graph's folder must exist"):
        plan(tmp_path / 'none', make, '4GB')


def test_a_model_of_another_graph_is_told():
    with pytest.raises(ValueError, match=r"plan: 'model' must be made for the graph's 40 nodes "
                       r'\(got 24 nodes\)'):  # fmt: skip
        plan(some_graph(), tiny_model(), '4GB')


def test_what_is_no_model_is_told():
    with pytest.raises(TypeError, match="plan: 'model' must be a ScalableGNN"):
        plan(tiny_data(), torch.nn.Linear(5, 3), '4GB')
