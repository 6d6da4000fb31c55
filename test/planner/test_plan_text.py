import pytest

from torch_geometric_autoscale.planner.choice import Choice
from torch_geometric_autoscale.planner.fit import Counts
from torch_geometric_autoscale.planner.needs import Needs, host_needs
from torch_geometric_autoscale.planner.remedies import REMEDIES, describe_problem
from torch_geometric_autoscale.planner.text import size_text, two_columns

from .made import costs, facts, made_plan, terms
from .test_needs import four_batches


def test_sizes_have_three_digits_and_a_unit():
    sizes = [0, 999, 1500, 25_000, 99_999_999, 4_000_000_000, 2 * 10**12]
    assert [size_text(size) for size in sizes] == [
        '0 B', '999 B', '1.50 kB', '25.0 kB', '100 MB', '4.00 GB', '2.00 TB',
    ]  # fmt: skip


def test_two_columns_are_aligned():
    lines = two_columns([('a', '1'), ('longer', '2')], '  ')
    assert lines == [f'  {"a":<28} 1', f'  {"longer":<28} 2']


def test_a_plan_is_a_table():
    made = made_plan(notes=['something is left out'])
    assert str(made).splitlines() == [
        'num_parts                      64',
        'batch_size                     8 (8 batches an epoch)',
        'history.tier                   ram',
        'history.dtype                  float32',
        'nodes of a batch               100, the largest 120',
        'its halo nodes                 20, the largest 30',
        'its edges                      800, the largest 900',
        '',
        'memory of the process, at its peak (training):',
        '  process                      100 kB',
        '  histories                    700 kB',
        '  largest step                 200 kB',
        '  reserve                      100 kB',
        '  total                        1.10 MB of 2.00 MB',
        '  other phases: start 300 kB',
        'peak of a training step        150 kB',
        'all histories                  700 kB',
        '',
        'pulled from histories          1,600 rows an epoch, 51.2 kB',
        'pushed to histories            6,400 rows an epoch, 205 kB',
        'seconds per epoch              1.25',
        'seconds per evaluation         0.50',
        '',
        'note: something is left out',
    ]


def test_a_plan_fits_if_what_it_needs_with_its_reserve_is_there():
    assert made_plan(1_100_000).fits
    assert not made_plan(1_099_999).fits
    made = made_plan()
    assert made.check() is made


def test_a_plan_that_does_not_fit_says_how_much_it_needs_and_why():
    made = made_plan(1_000_000, problem='Histories are too large.')
    text = (
        r"^pygas plan: 'memory' must be 1\.10 MB at least for the leanest plan found "
        r'\(got 1\.00 MB\)\. Histories are too large\.$'
    )
    with pytest.raises(ValueError, match=text):
        made.check('pygas plan')


def test_the_largest_quantity_is_named_with_what_helps():
    assert describe_problem(made_plan(1000)) == (
        "Largest in the phase 'training': histories, 700 kB. Keep them on disk (tier=disk), or "
        'rounded (dtype=int8).'
    )


def test_the_process_itself_is_named_beside_what_can_be_helped():
    phases = {'training': {'process': 900_000, 'largest step': 200_000}}
    made = made_plan(1000, needs=Needs(1, Counts(1, 1, 1), phases))
    assert describe_problem(made) == (
        "Largest in the phase 'training': largest step, 200 kB (besides the 900 kB of the process "
        'itself). Use smaller batches (more parts, or fewer per batch), fewer layers or fewer '
        'channels.'
    )


def test_every_quantity_has_a_remedy():
    everything = Choice(4, 1, 'ram', 'int8', 99, measure_memory=True, full_batch=True)
    found = host_needs(
        facts(), costs(), everything, four_batches(), 40, 1,
        terms(keeps_graph=True, draws_pictures=True), False,
    )  # fmt: skip
    names = {name for phase in found.phases.values() for name in phase} - {'process'}
    assert names == REMEDIES.keys()
