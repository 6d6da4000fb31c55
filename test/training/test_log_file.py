"""A log that is appended to, is never behind, and disturbs nobody when it ends."""

import io
import re

import pytest

from torch_geometric_autoscale.training import train
from torch_geometric_autoscale.training.log_file import LogFile

from .test_resume import interrupted_before
from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings

TIME = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'


def test_lines_are_appended_with_their_time_and_are_there_at_once(tmp_path):
    path = tmp_path / 'log.txt'
    path.write_text('before\n')
    log = LogFile(path)
    log.line('Größe')
    log.write('as it is\n')
    assert re.fullmatch(f'before\n{TIME}  Größe\nas it is\n', path.read_text('utf-8'))
    log.close()
    log.line('after its end')
    assert 'after' not in path.read_text('utf-8')


def test_what_is_written_while_paused_stays_out(tmp_path):
    log = LogFile(tmp_path / 'log.txt')
    with log.paused():
        log.write('a\n')
    log.write('b\n')
    log.close()
    assert (tmp_path / 'log.txt').read_text() == 'b\n'


@pytest.mark.parametrize('name', ['folder', 'nowhere/log.txt'])
def test_a_file_that_cannot_be_opened_is_told(tmp_path, name):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(OSError, match=rf"pygas: the log file must be writable \(got '.*{name}'"):
        LogFile(tmp_path / name)


def test_a_file_that_takes_no_more_is_told_once(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(io, 'FileIO', Full)
    log = LogFile(tmp_path / 'log.txt')
    log.line('a')
    log.line('b')
    notice = log.take_notice()
    assert "log.txt' could not be written (No space left on device); the log ends here" in notice
    assert log.take_notice() == ''


# Of a training #######################################################################


def lines(path):
    return [re.sub(f'^{TIME}  ', '', line) for line in path.read_text('utf-8').splitlines()]


def test_a_training_logs_every_epoch_whatever_is_printed(tmp_path, capsys):
    train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(eval_every=2, measure_error=True),
          log=False, log_file=tmp_path / 'log.txt')  # fmt: skip
    assert capsys.readouterr() == ('', '')
    first, second, third = lines(tmp_path / 'log.txt')
    number = r'\d+\.\d+'
    assert re.fullmatch(
        rf'Histories: epoch 1, {number} s, loss {number}, age {number} \(max \d\)', first
    )
    assert re.fullmatch(
        rf'Histories: epoch 2, {number} s, loss {number}, val {number}%, best val {number}%, '
        rf'age {number} \(max \d\), error \d+%', second,
    )  # fmt: skip
    assert third.startswith('Histories: epoch 3, ')


def test_rows_that_nobody_has_written_are_logged(tmp_path):
    train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(refresh='never'), log=False,
          log_file=tmp_path / 'log.txt')  # fmt: skip
    first, second, _ = lines(tmp_path / 'log.txt')
    assert re.search(r', \d+% never written$', first)
    assert 'never' not in second


def test_a_resumed_training_appends(tmp_path, monkeypatch):
    def again():
        settings = tiny_settings(checkpoint_every='1batch')
        return train(
            tiny_model(), tiny_data(), tiny_ptr(), settings, checkpoints=tmp_path / 'states',
            resume=True, log=False, log_file=tmp_path / 'log.txt',
        )  # fmt: skip

    interrupted_before(monkeypatch, 4, again)
    again()
    found = lines(tmp_path / 'log.txt')
    epochs = [line.split(',')[0] for line in found]
    assert epochs == [
        'Histories: epoch 1', 'Histories: resumed from state-000004.pygas',
        'Histories: epoch 2', 'Histories: epoch 3',
    ]  # fmt: skip


def test_an_unwritable_log_is_told_before_anything_is_made(tmp_path):
    (tmp_path / 'log.txt').mkdir()
    with pytest.raises(OSError, match='the log file must be writable'):
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), log=False,
              checkpoints=tmp_path / 'states', log_file=tmp_path / 'log.txt')  # fmt: skip
    assert not (tmp_path / 'states').exists()
