import pytest

from torch_geometric_autoscale.training import TrainSettings


def test_settings_refuse_an_unknown_mode():
    rule = r"TrainSettings: 'mode' must be one of gas, full \(got 'half'\)"
    with pytest.raises(ValueError, match=rule):
        TrainSettings(mode='half')


def test_settings_refuse_a_training_without_an_end():
    with pytest.raises(ValueError, match=r"one of 'epochs' and 'max_seconds' must end"):
        TrainSettings(epochs=None)


@pytest.mark.parametrize(
    ('name', 'value', 'rule'),
    [
        ('epochs', 0, 'a whole number from 1 on'),
        ('epochs', 2.5, 'a whole number from 1 on'),
        ('batch_size', None, 'a whole number from 1 on'),
        ('eval_batch_size', 0, 'a whole number from 1 on'),
        ('seed', -1, 'a whole number from 0 on'),
        ('lr', 0, 'a positive number'),
        ('lr', '0.1', 'a positive number'),
        ('grad_norm', -1.0, 'a positive number'),
        ('max_seconds', float('inf'), 'a positive number'),
        ('reg_weight_decay', -0.1, 'a number, not negative'),
    ],
)
def test_settings_name_the_value_that_is_out_of_range(name, value, rule):
    with pytest.raises(ValueError, match=f"'{name}' must be {rule}"):
        TrainSettings(**{name: value})
