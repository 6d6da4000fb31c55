import pickle
import zipfile

import pytest
import torch

from torch_geometric_autoscale.training import Checkpoint, load_checkpoint, save_checkpoint, train

from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


@pytest.fixture
def checkpoint():
    model, data = tiny_model(), tiny_data()
    run = train(model, data, tiny_ptr(), tiny_settings(), log=False)
    perm = torch.arange(24)
    return Checkpoint(
        model.state_dict(), perm, tiny_ptr(), run.fingerprint, run.best.epoch, {'seed': 0}
    )


def test_a_checkpoint_brings_back_weights_and_histories(tmp_path, checkpoint):
    save_checkpoint(tmp_path / 'checkpoint.pt', checkpoint)
    loaded = load_checkpoint(tmp_path / 'checkpoint.pt')
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
    with pytest.raises(Exception, match='pickle'):
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


def test_files_of_another_kind_are_told(tmp_path):
    path = tmp_path / 'checkpoint.pt'
    torch.save({'weights': torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r'\(got another kind of file\)'):
        load_checkpoint(path)
    path.write_text('hello')
    with pytest.raises(ValueError, match='a file that cannot be read'):
        load_checkpoint(path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a', 'b')
    with pytest.raises(ValueError, match='a file that cannot be read'):
        load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (print, ('run',))


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    path = tmp_path / 'checkpoint.pt'
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match='a file that cannot be read'):
        load_checkpoint(path)
    assert capsys.readouterr().out == ''


def test_a_checkpoint_of_a_later_format_is_told(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    content = torch.load(path, weights_only=True)
    content['format_version'] = 2
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'the format must be version 1 \(got version 2'):
        load_checkpoint(path)


def test_a_checkpoint_that_lacks_a_part_is_told(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    content = torch.load(path, weights_only=True)
    del content['perm']
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'\(got one without perm\)'):
        load_checkpoint(path)
