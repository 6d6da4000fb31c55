import numpy as np
import pytest

from torch_geometric_autoscale.planner.choice import Choice
from torch_geometric_autoscale.planner.costs import KeptOfGraph
from torch_geometric_autoscale.planner.device import device_needs
from torch_geometric_autoscale.planner.fit import Counts
from torch_geometric_autoscale.planner.halos import BatchSizes
from torch_geometric_autoscale.planner.needs import (
    INFERENCE_STEP,
    PICTURES,
    STEP,
    Needs,
    host_needs,
    partition_work,
    row_bytes,
)

from .made import costs, facts, terms


def four_batches():
    """Of 25 nodes, 10 halo nodes and 250 edges each."""
    arrays = (np.full(4, value) for value in (25.0, 10.0, 250.0))
    return BatchSizes(*arrays, 4, Counts(25, 10, 250))


def needs(choice=Choice(4, 1), is_cut=False, of=None, graph=None, **changes):  # noqa: B008
    return host_needs(
        graph or facts(), of or costs(), choice, four_batches(), 40, 5000,
        terms(keeps_original=False, **changes), is_cut,
    )  # fmt: skip


def test_a_row_of_a_history_takes_what_its_type_takes():
    assert row_bytes((8, 4), 'float32') == 48
    assert row_bytes((8, 4), 'bfloat16') == 24
    assert row_bytes((8, 4), 'int8') == 12 + 2 * 4  # a scale for each row


def test_phases_come_in_the_order_of_a_job():
    names = ['partition', 'permute', 'start', 'first propagation', 'evaluation', 'training']
    assert list(needs().phases) == names
    assert list(needs(is_cut=True).phases) == names[2:]
    measured = Choice(4, 1, measure_memory=True, full_batch=True)
    assert list(needs(measured, draws_pictures=True).phases) == [
        *names[:3], 'measuring a step', 'evaluation', 'training', 'full batch', 'pictures',
    ]  # fmt: skip


def test_training_takes_graph_histories_model_and_the_largest_step():
    assert needs().phases['training'] == {
        'process': 5000,
        'graph and features': 15_000,
        # rows' bounds and marks, sources, halos; a normalised variant of the edges
        'index of the graph': 8 * 100 + 4 * 1000 + 9 * 100 + 4 * 40 + 4 * 1000,
        'first propagation': 1200,
        'histories': 4800,
        'model and optimizer': 1000,
        'best weights': 800,
        STEP: 1000 + 100 * 25 + 10 * 250,
    }


def test_the_predicted_peak_of_a_step_is_that_of_the_largest_batch():
    found = needs()
    assert found.step_peak == 6000
    assert found.largest == (25, 10, 250)


def test_histories_on_the_disk_take_no_memory_and_neither_do_tables_of_an_inference():
    found = needs(Choice(4, 1, history_tier='disk'))
    assert 'histories' not in found.phases['training']
    assert found.phases['evaluation']['tables of an exact inference'] == 0
    assert needs().phases['evaluation']['tables of an exact inference'] == 40 * 100


def test_rounded_histories_are_smaller_but_need_tables_beside_them():
    found = needs(Choice(4, 1, history_dtype='int8'))
    assert found.phases['training']['histories'] == 2000
    assert found.phases['evaluation']['tables of an exact inference'] == 60 * 100


def test_an_evaluation_keeps_its_batches_and_scores_the_largest_split():
    found = needs().phases['evaluation']
    assert found['batches kept for it'] == 3 * 1000
    assert found[INFERENCE_STEP] == 7 * 25
    assert found['gradients'] == 300
    assert found['scores'] == (2 * 16 + 8) * 100
    split = needs(graph=facts(largest_split=30)).phases['evaluation']
    assert split['scores'] == (2 * 16 + 8) * 30


def test_a_mapped_graph_keeps_nothing_of_its_edges():
    mapped = facts(
        structure_bytes=4, feature_bytes=0, mapped_bytes=15_000, is_mapped=True,
        shares_columns=True,
    )  # fmt: skip
    found = needs(graph=mapped)
    assert 'permute' not in found.phases
    assert 'first propagation' not in found.phases
    training = found.phases['training']
    assert training['graph and features'] == 4
    assert training['index of the graph'] == 8 * 100 + 9 * 100 + 4 * 40
    assert 'first propagation' not in training


def test_a_first_propagation_is_kept_if_there_is_one_and_it_is_wanted():
    assert 'first propagation' not in needs(Choice(4, 1, keep_first_propagation=False)).phases
    without = needs(of=costs(kept=KeptOfGraph()))
    assert 'first propagation' not in without.phases['training']


def test_measuring_a_step_takes_a_copy_of_model_and_histories():
    found = needs(Choice(4, 1, measure_memory=True)).phases['measuring a step']
    assert found['copy of the model'] == 1000 + 4800
    on_disk = needs(Choice(4, 1, 'disk', measure_memory=True)).phases['measuring a step']
    assert on_disk['copy of the model'] == 1000


def test_a_full_batch_step_has_all_rows_and_no_halo():
    found = needs(Choice(4, 1, full_batch=True)).phases['full batch']
    assert found['full-batch step'] == 1000 + 100 * 100 + 10 * 1000


def test_what_is_kept_beside_the_training_counts():
    found = host_needs(facts(), costs(), Choice(4, 1), four_batches(), 40, 0, terms(), False)
    assert found.phases['training']['reordered graph'] == 15_000
    assert needs(keeps_graph=True).phases['training']['graph of the converted model'] == 19_800
    assert needs(draws_pictures=True).phases['pictures']['pictures'] == PICTURES
    cached = needs(Choice(4, 1, 'disk', history_cache=777)).phases['training']
    assert cached['cache of histories'] == 777


def test_a_partitioner_takes_memory_for_nodes_and_edges():
    assert partition_work('metis', facts()) == 60 * 100 + (20 + 24) * 1000
    assert partition_work('ldg', facts(is_mapped=True)) == 90 * 100 + 80 * 1000


def test_the_peak_is_that_of_the_phase_with_most():
    found = Needs(
        5, Counts(1, 1, 1), {'start': {'a': 3, STEP: 100}, 'training': {'a': 20, STEP: 60}}
    )
    assert (found.peak_phase, found.peak, found.peak_without_steps) == ('start', 103, 20)
    assert found.total('training') == 80


def test_a_device_holds_model_step_and_what_is_kept_there():
    found = device_needs(facts(), costs(), Choice(4, 1, 'device'), four_batches(), 900)
    assert found.phases['training'] == {
        'process': 900, 'model and optimizer': 1000, 'histories': 4800, 'best weights': 800,
        STEP: 6000,
    }  # fmt: skip
    assert found.phases['evaluation']['batches kept for it'] == 3000


@pytest.mark.parametrize('tier', ['ram', 'pinned', 'disk'])
def test_histories_elsewhere_take_nothing_of_a_device(tier):
    choice = Choice(4, 1, tier, history_cache=55, measure_memory=True, full_batch=True)
    found = device_needs(facts(), costs(), choice, four_batches(), 0)
    assert 'histories' not in found.phases['training']
    assert found.phases['training']['cache of histories'] == 55
    assert found.phases['measuring a step']['copy of the model'] == 1000
    assert found.phases['full batch']['full-batch step'] == 21_000
