"""``--quiet``: errors and one line, for every command."""

import re
import sys
import types

import pytest

from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli.console import logged_to, quietly, result
from torch_geometric_autoscale.progress import progress

from ..terminal import terminal
from .conftest import printed_in, timed_in


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished job, and what it said."""
    from ..training.tiny import tiny_data
    from .conftest import save_npz

    folder = tmp_path_factory.mktemp('quiet')
    graph = save_npz(folder / 'rings.npz', tiny_data())
    with pytest.MonkeyPatch.context() as patch, terminal(patch, columns=200) as screen:
        code = main([
            '--quiet', 'train', f'dataset={graph}', f'out={folder / "run"}', 'num_parts=4',
            'epochs=3', 'partition=lp', 'full.epochs=2', 'full.max_seconds=null', 'device=cpu',
            'model.hidden_channels=8', 'tensorboard=true', 'measure_error=true',
        ])  # fmt: skip
    assert code == 0
    return folder / 'run', screen.screen


def test_train_says_where_it_is_and_what_it_reached(run):
    folder, said = run
    number = r'\d+\.\d\d%'
    pattern = f'{re.escape(str(folder))}: test {number} histories, {number} full batch'
    assert re.fullmatch(pattern, said.replace('\n', ''))


def test_the_log_is_as_long_as_ever(run):
    folder, _ = run
    printed = printed_in(folder / 'log.txt')
    assert printed[0].startswith('Partitioning 24 nodes')
    assert f'Run folder: {folder}' in printed
    timed = [line.split(',')[0] for line in timed_in(folder / 'log.txt')]
    assert re.match(r'pygas [\d.]+: pygas train dataset=', timed[0])
    assert timed[1:] == [
        *(f'Histories: epoch {i}' for i in (1, 2, 3)), 'Full batch: epoch 1', 'Full batch: epoch 2',
    ]  # fmt: skip


def test_both_runs_have_scalars_of_their_own(run):
    pytest.importorskip('tensorboard')
    for mode in ('gas', 'full'):
        assert list((run[0] / 'tensorboard' / mode).glob('events*'))


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (['evaluate', 'RUN'], r'test +\d+ +\d+\.\d\d% +\d+\.\d\d%'),
        (['predict', 'RUN'], r"classes \(24\) of epoch \d: '.*classes.npy'"),
        (['info'], r'.*torch \d.*'),
    ],
)
@pytest.mark.parametrize('first', [True, False])
def test_every_command_prints_one_line(run, capsys, arguments, line, first):
    arguments = [str(run[0]) if word == 'RUN' else word for word in arguments]
    arguments += ['--force'] if 'predict' in arguments else []
    arguments = ['--quiet', *arguments] if first else [*arguments, '--quiet']
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(line + '\n', out), out
    assert err == ''


def test_errors_are_told(capsys):
    assert main(['evaluate', 'nowhere', '--quiet']) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith("pygas: 'RUN' must be a run folder")


def test_help_is_help(capsys):
    assert main(['train', '--help', '--quiet']) == 0
    assert '--quiet' in capsys.readouterr().out


def test_a_job_that_fails_says_how_to_go_on(options, tmp_path, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise ValueError('pygas: no.')

    monkeypatch.setattr('torch_geometric_autoscale.cli.train.train_model', fail)
    assert main(['train', *options, '--quiet']) == 2
    out, err = capsys.readouterr()
    assert err == 'pygas: no.\n'
    assert len(out.splitlines()) <= 1


def test_how_a_job_ended_is_logged(options, tmp_path, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('torch_geometric_autoscale.cli.train.train_model', fail)
    assert main(['train', *options]) == 130
    assert timed_in(tmp_path / 'run' / 'log.txt')[-1] == 'ended by KeyboardInterrupt'


def test_tensorboard_is_missed_before_a_folder_is_made(options, tmp_path, monkeypatch, capsys):
    nothing = types.ModuleType('torch.utils.tensorboard')
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', nothing)
    assert main(['train', *options, 'tensorboard=true']) == 2
    assert capsys.readouterr().err == (
        "pygas train: the package 'tensorboard' is needed (got none installed). Install it with "
        '\'pip install "torch-geometric-autoscale[tensorboard]"\'.\n'
    )
    assert not (tmp_path / 'run').exists()


def test_a_job_that_cannot_begin_leaves_no_folder_for_scalars(options, tmp_path, monkeypatch):
    pytest.importorskip('tensorboard')

    def fail(*args, **kwargs):
        raise ValueError('pygas: no.')

    monkeypatch.setattr('torch_geometric_autoscale.training.loop._Trainer', fail)
    assert main(['train', *options, 'tensorboard=true']) == 2
    assert not (tmp_path / 'run').exists()


# The console #########################################################################


def test_quietly_prints_results_or_else_the_last_line(capsys):
    with quietly():
        print('one')
        print('two', end='')
        print(' and a half\n')
    assert capsys.readouterr().out == 'two and a half\n'
    with quietly():
        print('one')
        result('all')
        print('two')
    assert capsys.readouterr().out == 'all\n'
    with quietly():
        pass
    assert capsys.readouterr().out == ''


def test_a_result_is_nothing_where_all_is_printed(capsys):
    print('all')
    result('all, in short')
    assert capsys.readouterr().out == 'all\n'


def test_what_is_printed_stands_above_bars_in_whole_lines(monkeypatch, tmp_path):
    monkeypatch.setattr('torch_geometric_autoscale.progress.DELAY', 0.0)
    with (
        terminal(monkeypatch) as screen, logged_to(tmp_path / 'log.txt'),
        progress('Sweep', 2, mininterval=0) as bar,
    ):  # fmt: skip
        print('begun', end=' ')
        bar.update()
        print('and ended')
    assert 'begun and ended' in {text.split('\n')[0] for text in screen.screens()}
    assert not any('begun' in line and 'Sweep' in line for text in screen.screens()
                   for line in text.split('\n'))  # fmt: skip
    assert screen.screen == 'begun and ended'
    assert (tmp_path / 'log.txt').read_text() == 'begun and ended\n'
