import pickle

import pytest
import torch

from torch_geometric_autoscale.training import Checkpoint, load_checkpoint, save_checkpoint, train
from torch_geometric_autoscale.training.container import write_container

from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


@pytest.fixture
def checkpoint():
    model, data = tiny_model(), tiny_data()
    run = train(model, data, tiny_ptr(), tiny_settings(), log=False)
    perm = torch.arange(24)
    return Checkpoint(
        model.state_dict(), perm, tiny_ptr(), run.fingerprint, run.best.epoch, {'seed': 0}
    )


@pytest.mark.parametrize('mapped', [False, True])
def test_a_checkpoint_brings_back_weights_and_histories(tmp_path, checkpoint, mapped):
    save_checkpoint(tmp_path / 'checkpoint.pt', checkpoint)
    loaded = load_checkpoint(tmp_path / 'checkpoint.pt', mapped)
    model = tiny_model(seed=1)
    model.load_state_dict(loaded.model)
    torch.testing.assert_close(
        model.histories[0].pull(), checkpoint.model['histories.0._extra_state']['emb'],
        rtol=0, atol=0,
    )  # fmt: skip
    assert torch.equal(loaded.ptr, tiny_ptr())
    assert (loaded.epoch, loaded.settings) == (checkpoint.epoch, {'seed': 0})
    assert model.histories[0].graph == checkpoint.fingerprint


def test_a_checkpoint_replaces_the_old_one_only_when_whole(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    checkpoint.settings = {'not storable': lambda: None}
    with pytest.raises(TypeError, match=r"state\['settings'\]\['not storable'\] must be made of"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_checkpoint_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'load_checkpoint: the file must exist'):
        load_checkpoint(tmp_path / 'none.pt')


@pytest.mark.parametrize('keep', [0, 10, 1000, -100])
def test_a_truncated_checkpoint_is_told(tmp_path, checkpoint, keep):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"'checkpoint.pt' must be a whole checkpoint"):
        load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (print, ('run',))


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    path = tmp_path / 'checkpoint.pt'
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r'\(got another kind of file'):
        load_checkpoint(path)
    assert capsys.readouterr().out == ''


def test_a_checkpoint_that_lacks_a_part_is_told(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    content = {name: value for name, value in vars(checkpoint).items() if name != 'perm'}
    write_container(path, 'checkpoint', content)
    with pytest.raises(ValueError, match=r'\(got one without perm\)'):
        load_checkpoint(path)
