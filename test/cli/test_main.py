import subprocess
import sys

import pytest

from torch_geometric_autoscale import __version__
from torch_geometric_autoscale.cli import main


def test_version_is_that_of_the_package(capsys):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'pygas {__version__}\n'


@pytest.mark.parametrize('argument', ['-h', '--help', 'help'])
def test_help_lists_the_commands(capsys, argument):
    assert main([argument]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ('train', 'evaluate', 'predict', 'info', '--version'))


def test_no_command_is_wrong_use(capsys):
    assert main([]) == 2
    assert capsys.readouterr().out.startswith('usage: pygas COMMAND')


def test_an_unknown_command_lists_the_known_ones(capsys):
    assert main(['trian']) == 2
    assert capsys.readouterr().err == (
        'pygas: a command must come first, one of train, evaluate, predict, report, plan, '
        "convert, generate, info (got 'trian'). See 'pygas --help'.\n"
    )


@pytest.mark.parametrize('command', ['evaluate', 'predict', 'report', 'info'])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as raised:
        main([command, '--help'])
    assert raised.value.code == 0
    assert f'usage: pygas {command}' in capsys.readouterr().out


def test_info_tells_versions_device_and_optional_parts(capsys):
    assert main(['info']) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ('torch_geometric', 'cores / threads', 'partitioners'))
    assert 'hydra-core' in out


def test_errors_are_one_message_without_a_traceback(capsys):
    assert main(['evaluate', 'nowhere']) == 2
    assert capsys.readouterr().err == (
        "pygas: 'RUN' must be a run folder of 'pygas train', with its checkpoint.pt "
        "(got 'nowhere'). Pass the folder that the training named at its end.\n"
    )


def test_errors_show_where_they_come_from_if_asked(monkeypatch):
    monkeypatch.setenv('PYGAS_TRACEBACK', '1')
    with pytest.raises(FileNotFoundError):
        main(['evaluate', 'nowhere'])


def test_ctrl_c_before_the_training_is_told(capsys, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr('torch_geometric_autoscale.cli.info.info', interrupt)
    assert main(['info']) == 130
    assert capsys.readouterr().err == 'pygas: interrupted.\n'


def test_the_console_command_is_installed():
    code = 'import sys; from torch_geometric_autoscale.cli import main; sys.exit(main())'
    out = subprocess.run(
        [sys.executable, '-c', code, '--version'], capture_output=True, text=True, check=True
    )
    assert out.stdout == f'pygas {__version__}\n'
