"""What is printed is copied to a log, which never ends the job."""

import errno
import io
import os
from contextlib import redirect_stdout

import pytest

from torch_geometric_autoscale.cli.console import logged_to


def test_what_is_printed_is_logged(tmp_path, capsys):
    (tmp_path / 'log.txt').write_text('before\n')
    with logged_to(tmp_path / 'log.txt'):
        print('Größe', 1)
    assert capsys.readouterr().out == 'Größe 1\n'
    assert (tmp_path / 'log.txt').read_text('utf-8') == 'before\nGröße 1\n'


def check_told_once(out, lines):
    notices = [line for line in out.splitlines() if 'could not be written' in line]
    (notice,) = notices
    assert "log.txt' could not be written (No space left on device); the log ends here" in notice
    assert [line for line in out.splitlines() if line != notice] == lines


@pytest.mark.parametrize('first', [1, 3])
def test_a_log_that_takes_no_more_ends_nothing(tmp_path, monkeypatch, capsys, first):
    class Full(io.FileIO):
        count = 0

        def write(self, content):
            Full.count += 1
            if Full.count >= first:
                raise OSError(errno.ENOSPC, 'No space left on device')
            return super().write(content)

    monkeypatch.setattr(io, 'FileIO', Full)
    with logged_to(tmp_path / 'log.txt'):
        for i in range(4):
            print('line', i)
    check_told_once(capsys.readouterr().out, [f'line {i}' for i in range(4)])


def test_a_log_on_a_full_disk_ends_nothing(small_disk, capsys):
    lines = ['x' * 1000] * 1500
    with logged_to(small_disk / 'log.txt'):
        for line in lines:
            print(line)
    check_told_once(capsys.readouterr().out, lines)


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / 'log.txt').mkdir()
    message = r"pygas: the log file must be writable \(got '.*log.txt': Is a directory\)"
    with pytest.raises(OSError, match=message), logged_to(tmp_path / 'log.txt'):
        pass


def test_a_console_that_is_a_file_on_a_full_disk_ends_nothing(tmp_path, small_disk):
    (small_disk / 'other').write_bytes(bytes(2**20 - os.sysconf('SC_PAGESIZE')))
    lines = ['x' * 1000] * 20
    console = (small_disk / 'out.txt').open('w')
    with redirect_stdout(console), logged_to(tmp_path / 'log.txt'):
        for line in lines:
            print(line, flush=True)
    assert (tmp_path / 'log.txt').read_text().splitlines() == lines
    (small_disk / 'other').unlink()
    console.close()


def test_a_console_that_is_gone_ends_the_job(tmp_path):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with (
        redirect_stdout(Gone()),
        logged_to(tmp_path / 'log.txt'),
        pytest.raises(BrokenPipeError),
    ):
        print('line')
