import os
import signal

import pytest
import torch

from torch_geometric_autoscale import EvalSubgraphLoader, SubgraphLoader
from torch_geometric_autoscale.training import TrainSettings, train
from torch_geometric_autoscale.training import loop as loop_module
from torch_geometric_autoscale.training.objective import micro_f1_by_split

from .tiny import N, tiny_data, tiny_model, tiny_ptr, tiny_settings


def numbers(run):
    """What two runs with the same seed share: everything but seconds."""
    clock = ('seconds', 'eval_seconds', 'checkpoint_seconds', 'elapsed')
    return [
        {key: value for key, value in epoch.items() if key not in clock}
        for epoch in run.to_dict()['epochs']
    ]


@pytest.mark.parametrize('mode', ['gas', 'full'])
def test_training_learns(mode):
    settings = tiny_settings(mode=mode, epochs=30, lr=0.05)
    run = train(tiny_model(), tiny_data(), tiny_ptr(), settings, log=False)
    assert run.epochs[-1].loss < 0.5 * run.epochs[0].loss
    assert run.val > 60
    assert [epoch.epoch for epoch in run.epochs] == list(range(1, 31))


@pytest.mark.parametrize('mode', ['gas', 'full'])
def test_same_seed_gives_the_same_numbers_to_the_bit(mode):
    runs = [
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(mode=mode), log=False)
        for _ in range(2)
    ]
    assert numbers(runs[0]) == numbers(runs[1])


def test_another_seed_gives_other_numbers():
    runs = [
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(seed=seed), log=False)
        for seed in (0, 1)
    ]
    assert numbers(runs[0]) != numbers(runs[1])


@pytest.mark.parametrize('mode', ['gas', 'full'])
def test_measuring_memory_does_not_disturb_the_run(mode):
    plain, measured = (
        train(
            tiny_model(batch_norm=True), tiny_data(), tiny_ptr(),
            tiny_settings(mode=mode, measure_memory=measure), log=False,
        )
        for measure in (False, True)
    )  # fmt: skip
    assert numbers(plain) == numbers(measured)
    assert plain.step_peak_bytes is None
    assert measured.step_peak_bytes > 0


def test_the_model_ends_at_its_best_validation_epoch_with_exact_histories():
    data, model = tiny_data(), tiny_model()
    run = train(model, data, tiny_ptr(), tiny_settings(epochs=12, lr=0.1), log=False)
    loader = EvalSubgraphLoader(data, tiny_ptr(), log=False)
    scores = micro_f1_by_split(model(loader=loader), data)
    assert (scores['val'], scores['test']) == (run.val, run.test)
    assert run.val == max(epoch.val for epoch in run.epochs)
    kept = model.histories[0].pull()
    model.refresh(loader)
    torch.testing.assert_close(kept, model.histories[0].pull())


def test_full_mode_takes_the_full_batch_gradient():
    data = tiny_data()
    model, plain = tiny_model(dropout=0.0), tiny_model(dropout=0.0)
    train(model, data, tiny_ptr(), tiny_settings(mode='full', epochs=1, lr=0.1), log=False)

    optimizer = torch.optim.Adam(plain.parameters(), lr=0.1)
    out = plain(data.x, data.edge_index)
    mask = data.train_mask
    torch.nn.functional.cross_entropy(out[mask], data.y[mask]).backward()
    optimizer.step()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_full_loss_weighting_makes_an_epochs_gradients_add_up():
    data = tiny_data(train=(0, 1, 2, 9, 17))
    settings = tiny_settings(loss_weighting='full', batch_size=2)
    model = tiny_model(dropout=0.0).double()
    data.x = data.x.double()
    model.refresh(EvalSubgraphLoader(data, tiny_ptr(), log=False))
    # With parts as closed components no gradient is cut off at a batch's edge.
    inside = (data.edge_index[0] // 8) == (data.edge_index[1] // 8)
    data.edge_index = data.edge_index[:, inside]
    model.reset_parameters()
    trainer = loop_module._Trainer(
        model, data, tiny_ptr(), settings, loop_module.classification_loss
    )
    for batch in SubgraphLoader(data, tiny_ptr(), 2, log=False, input_nodes=data.train_mask):
        trainer._forward_backward(model, batch)
    summed = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    out = model(data.x, data.edge_index)[data.train_mask]
    torch.nn.functional.cross_entropy(out, data.y[data.train_mask]).backward()
    for ours, parameter in zip(summed, model.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


def test_gradients_are_clipped_to_the_norm():
    model = tiny_model(dropout=0.0)
    data = tiny_data()
    settings = tiny_settings(grad_norm=1e-3)
    trainer = loop_module._Trainer(
        model, data, tiny_ptr(), settings, loop_module.classification_loss
    )
    trainer._forward_backward(model, next(iter(trainer._batches())))
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


# Few labels ##########################################################################


def test_batches_without_a_training_node_are_counted_and_keep_their_rows_fresh():
    data, model = tiny_data(train=(0, 1)), tiny_model(dropout=0.0)
    run = train(model, data, tiny_ptr(), tiny_settings(epochs=2, batch_size=1), log=False)
    assert [(epoch.steps, epoch.skipped) for epoch in run.epochs] == [(1, 5), (1, 5)]
    assert all(epoch.loss is not None for epoch in run.epochs)
    assert run.to_dict()['skipped_batches'] == 10


def test_partitions_without_a_training_node_can_be_left_out():
    settings = tiny_settings(epochs=2, batch_size=1, drop_unlabelled=True)
    run = train(tiny_model(), tiny_data(train=(0, 1)), tiny_ptr(), settings, log=False)
    assert [(epoch.steps, epoch.skipped) for epoch in run.epochs] == [(1, 0), (1, 0)]


def test_several_labels_per_node_are_trained_with_bce():
    data = tiny_data(labels=4)
    settings = tiny_settings(epochs=40, lr=0.05)
    run = train(tiny_model(out_channels=4), data, tiny_ptr(), settings, log=False)
    assert run.epochs[-1].loss < 0.5
    assert run.val > 70


# When it ends ########################################################################


def test_max_steps_ends_an_epoch_early():
    settings = tiny_settings(batch_size=1, max_steps=2)
    run = train(tiny_model(), tiny_data(), tiny_ptr(3), settings, log=False)
    assert [epoch.steps for epoch in run.epochs] == [2, 2, 2]


def test_evaluations_come_every_so_many_epochs_and_at_the_end():
    settings = tiny_settings(epochs=5, eval_every=2)
    run = train(tiny_model(), tiny_data(), tiny_ptr(), settings, log=False)
    assert [epoch.val is not None for epoch in run.epochs] == [False, True, False, True, True]


def test_no_epoch_begins_after_the_time_is_over(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(loop_module.time, 'perf_counter', lambda: float(next(clock)))
    settings = tiny_settings(epochs=None, max_seconds=50.0)
    run = train(tiny_model(), tiny_data(), tiny_ptr(), settings, log=False)
    assert run.epochs[-1].elapsed >= 50 > run.epochs[-2].elapsed
    assert run.epochs[-1].val is not None


def test_the_first_ctrl_c_ends_the_training_after_the_batch_at_hand(monkeypatch):
    original, calls = loop_module._Trainer._forward_backward, []

    def press(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:  # in the second of three-batch epochs
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop_module._Trainer, '_forward_backward', press)
    model, data = tiny_model(), tiny_data(train=(0, 5, 8, 13, 16, 21))
    run = train(model, data, tiny_ptr(), tiny_settings(epochs=50), log=False)
    assert run.interrupted
    assert len(run.epochs) == 1
    assert run.best.epoch == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    scores = micro_f1_by_split(model(loader=EvalSubgraphLoader(data, tiny_ptr(), log=False)), data)
    assert scores['val'] == run.val


def test_ctrl_c_in_the_first_epoch_still_leaves_an_evaluated_model(monkeypatch):
    original = loop_module._Trainer._forward_backward

    def press(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop_module._Trainer, '_forward_backward', press)
    settings = tiny_settings(epochs=50, eval_every=10)
    run = train(tiny_model(), tiny_data(), tiny_ptr(), settings, log=False)
    assert run.interrupted
    assert [epoch.steps for epoch in run.epochs] == [1]
    assert run.test is not None


def test_the_second_ctrl_c_stops_at_once(monkeypatch):
    def press(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop_module._Trainer, '_forward_backward', press)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), log=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Bad input ###########################################################################


def test_a_diverged_training_is_told():
    data, model = tiny_data(), tiny_model()
    with torch.no_grad():
        model.convs[-1].bias.fill_(float('nan'))
    with pytest.raises(ValueError, match=r"'logits' must be free of NaN"):
        train(model, data, tiny_ptr(), tiny_settings(), log=False)


def test_a_plain_module_is_refused():
    with pytest.raises(TypeError, match="train: 'model' must be a ScalableGNN"):
        train(torch.nn.Linear(5, 3), tiny_data(), tiny_ptr(), TrainSettings(), log=False)


# Progress ############################################################################


def test_without_a_terminal_a_line_is_printed_every_tenth_of_the_way(capsys):
    train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(epochs=40))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith('Histories: epoch 4, ')
    assert 'best val' in lines[-1]


def test_on_a_terminal_a_bar_counts_epochs(monkeypatch, capsys):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    monkeypatch.setattr(
        'torch_geometric_autoscale.training.reporter.progress',
        lambda title, total, unit, **_: Bar(title, total),
    )
    train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(mode='full', epochs=4))
    assert (Bar.last.title, Bar.last.total, Bar.last.n) == ('Full batch', 4, 4)
    assert 'best val' in Bar.last.text
    assert capsys.readouterr().out == ''


class Bar:
    def __init__(self, title, total):
        self.title, self.total, self.n, self.text = title, total, 0, ''
        Bar.last = self

    def set_postfix_str(self, text, refresh):
        self.text = text

    def update(self, steps):
        self.n += steps

    def close(self):
        pass


def test_halo_rows_are_counted_over_the_batches_of_the_run():
    run = train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(batch_size=6), log=False)
    assert run.halo_per_batch_node == 0.0
    run = train(tiny_model(), tiny_data(), tiny_ptr(3), tiny_settings(batch_size=1), log=False)
    assert run.halo_per_batch_node == pytest.approx(4 / N)


def test_worker_processes_change_no_number():
    runs = [
        train(
            tiny_model(), tiny_data(), tiny_ptr(),
            tiny_settings(epochs=2, num_workers=workers), log=False,
        )
        for workers in (0, 2)
    ]  # fmt: skip
    assert numbers(runs[0]) == numbers(runs[1])


@pytest.mark.parametrize('schedule', ['constant', 'onecycle'])
def test_batches_ahead_change_no_number(schedule):
    ahead, plain = (
        train(
            tiny_model(dropout=0.5), tiny_data(), tiny_ptr(),
            tiny_settings(prefetch=prefetch, schedule=schedule, max_steps=2), log=False,
        )
        for prefetch in (True, False)
    )  # fmt: skip
    assert numbers(ahead) == numbers(plain)
    assert ahead.val == plain.val


def test_training_in_bfloat16_learns_and_keeps_histories_in_float32():
    model = tiny_model()
    settings = tiny_settings(precision='bfloat16', epochs=30, lr=0.05)
    run = train(model, tiny_data(), tiny_ptr(), settings, log=False)
    assert run.epochs[-1].loss < 0.5 * run.epochs[0].loss
    assert run.val > 60
    assert {history.dtype for history in model.histories} == {torch.float32}


def test_losses_of_a_device_are_added_without_asking_for_them(monkeypatch):
    trainer = loop_module._Trainer(
        tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), torch.nn.functional.cross_entropy
    )

    class Elsewhere(torch.Tensor):
        device = property(lambda self: torch.device('cuda'))

    position = trainer.training.position
    for value, weight in ((0.5, 2), (0.25, 4)):
        trainer._note_loss(torch.tensor(value).as_subclass(Elsewhere), weight)
    assert position.loss == 0.0
    trainer._add_losses()
    assert position.loss == 2.0
    trainer._note_loss(torch.tensor(1.5), 2)
    assert position.loss == 5.0
    trainer._add_losses()
    assert position.loss == 5.0
