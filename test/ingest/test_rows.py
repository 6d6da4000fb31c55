"""Features wherever they lie: files, mapped arrays, PyG's feature stores."""

import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, FeatureStore
from torch_geometric.testing import MyFeatureStore

from torch_geometric_autoscale import convert

from .conftest import X


def save_safetensors(path, tensors):
    """Write the format by hand: a length, a header of names, types and places, and the bytes."""
    header, content = {}, b''
    for name, tensor in tensors.items():
        kind = {torch.float32: 'F32', torch.bfloat16: 'BF16'}[tensor.dtype]
        text = tensor.view(torch.uint8).numpy().tobytes()
        place = [len(content), len(content) + len(text)]
        header[name] = {'dtype': kind, 'shape': list(tensor.shape), 'data_offsets': place}
        content += text
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, 'little') + text + content)


def test_a_file_of_numpy_is_copied(data, tmp_path, pieces):
    np.save(tmp_path / 'x.npy', np.array(X, np.float64))
    folder = convert(data, tmp_path / 'graph', x=tmp_path / 'x.npy')
    assert folder['x'].tolist() == X
    assert folder['x'].dtype == np.float64


def test_a_mapped_array_is_copied(data, tmp_path, pieces):
    mapped = np.memmap(tmp_path / 'x.bin', np.float32, 'w+', shape=(5, 2))
    mapped[:] = X
    folder = convert(data, tmp_path / 'graph', x=mapped)
    assert folder['x'].tolist() == X
    assert mapped.tolist() == X


def test_numbers_of_other_machines_are_turned_round(data, tmp_path):
    np.save(tmp_path / 'x.npy', np.asfortranarray(np.array(X, '>f4')))
    folder = convert(data, tmp_path / 'graph', x=tmp_path / 'x.npy')
    assert folder['x'].tolist() == X
    assert folder['x'].dtype == np.dtype('<f4')


@pytest.mark.parametrize(
    ('tensors', 'name'),
    [
        ({'features': torch.tensor(X).float()}, ''),
        ({'x': torch.tensor(X).float(), 'y': torch.ones(5)}, ''),
        ({'features': torch.tensor(X).float(), 'y': torch.ones(5)}, '#features'),
        ({'features': torch.tensor(X).bfloat16()}, ''),
    ],
)
def test_a_safetensors_file_is_copied(data, tmp_path, pieces, tensors, name):
    save_safetensors(tmp_path / 'x.safetensors', tensors)
    folder = convert(data, tmp_path / 'graph', x=f'{tmp_path}/x.safetensors{name}')
    assert folder['x'].tolist() == X
    assert folder['x'].dtype == np.float32


def test_a_tensor_of_a_safetensors_file_must_be_named(data, tmp_path):
    save_safetensors(tmp_path / 'f.safetensors', {'a': torch.ones(5, 2), 'b': torch.ones(5)})
    with pytest.raises(ValueError, match=r"must hold a tensor 'x' \(got a, b\).*f\.safetensors#a"):
        convert(data, tmp_path / 'graph', x=tmp_path / 'f.safetensors')


class NumpyStore(MyFeatureStore):
    """A store that answers slices of ids with arrays, and remembers how many were asked for."""

    def _get_tensor(self, attr):
        rows = super()._get_tensor(attr)
        self.__dict__.setdefault('asked', []).append(len(rows))
        return rows.numpy()


@pytest.mark.parametrize('kind', [MyFeatureStore, NumpyStore])
def test_a_feature_store_is_read_in_pieces(data, tmp_path, pieces, kind):
    store = kind()
    store.put_tensor(torch.tensor(X).float(), group_name=None, attr_name='x', index=None)
    store.put_tensor(torch.arange(5), group_name=None, attr_name='y', index=None)
    folder = convert(data, tmp_path / 'graph', x=store, y=store)
    assert folder['x'].tolist() == X
    assert folder['y'].tolist() == [0, 1, 2, 3, 4]


def test_no_more_rows_of_a_store_are_in_memory_than_a_piece(data, tmp_path, small_pieces):
    store = NumpyStore()
    store.put_tensor(torch.tensor(X).float(), group_name=None, attr_name='x', index=None)
    convert(data, tmp_path / 'graph', x=store)
    assert max(store.asked) == 2  # 16 bytes


def test_a_store_without_the_attribute_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="it must give rows of 'x' for 5 nodes"):
        convert(data, tmp_path / 'graph', x=MyFeatureStore())
    assert isinstance(Data(), FeatureStore)


def test_a_store_needs_a_number_of_nodes(edges_csv, tmp_path):
    store = MyFeatureStore()
    store.put_tensor(torch.tensor(X).float(), group_name=None, attr_name='x', index=None)
    with pytest.raises(ValueError, match="'num_nodes' is needed where 'x' comes from a feature st"):
        convert(edges_csv, tmp_path / 'graph', x=store)
    assert convert(edges_csv, tmp_path / 'graph', x=store, num_nodes=5)['x'].tolist() == X


@pytest.mark.parametrize(
    ('value', 'error', 'message'),
    [
        ('no.npy', FileNotFoundError, r"'x' must name a file \(got '.*no\.npy'\)"),
        ('x.bin', ValueError, r"'x' must be a \.npy or \.safetensors file \(got 'x\.bin'\)"),
        ('short.npy', ValueError, r"'short\.npy' must be a whole \.npy file of numbers"),
        ('text.npy', ValueError, r"'text\.npy' must be a whole \.npy file of numbers"),
        ('objects.npy', ValueError, r"'objects\.npy' must be a whole \.npy file of numbers"),
        ('nan.npy', ValueError, r"features 'x' must not hold NaN \(got NaN in row 3 \(from 0\)\)"),
        ([[1, 2]], TypeError, r"'x' must be a tensor, an array.*got list"),
    ],
)
def test_bad_features_are_refused(data, tmp_path, pieces, value, error, message):
    x = np.array(X, np.float32)
    x[3, 1] = np.nan
    np.save(tmp_path / 'nan.npy', x)
    (tmp_path / 'short.npy').write_bytes((tmp_path / 'nan.npy').read_bytes()[:-1])
    (tmp_path / 'text.npy').write_text('text')
    (tmp_path / 'x.bin').write_bytes(b'')
    np.save(tmp_path / 'objects.npy', np.array([{}] * 5, dtype=object))
    with pytest.raises(error, match=message):
        convert(data, tmp_path / 'graph', x=tmp_path / value if isinstance(value, str) else value)
    assert not list(tmp_path.glob('graph*'))
