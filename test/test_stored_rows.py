"""Features in a PyG feature store are read by the rows of a batch."""

import copy
import pickle

import pytest
import torch
from torch_geometric.data import Data, FeatureStore, TensorAttr
from torch_geometric.testing import MyFeatureStore

from torch_geometric_autoscale import EvalSubgraphLoader, SubgraphLoader, models
from torch_geometric_autoscale.stored_rows import StoredRows

from .on_disk import some_graph

PTR = torch.tensor([0, 11, 20, 33, 40])
X = torch.arange(12.0).view(4, 3)


class Store(FeatureStore):
    """Rows in a NumPy array; remembers what was asked for."""

    def __init__(self, x, name='x'):
        super().__init__()
        self.__dict__.update(x=x.numpy(), name=name, asked=[])

    def _get_tensor(self, attr):
        if (attr.group_name, attr.attr_name) != (None, self.name):
            return None
        self.asked.append(attr.index.tolist())
        return self.x[attr.index.numpy()]

    def _put_tensor(self, tensor, attr):
        raise NotImplementedError

    def _remove_tensor(self, attr):
        raise NotImplementedError

    def _get_tensor_size(self, attr):
        return self.x.shape

    def get_all_tensor_attrs(self):
        return [TensorAttr(None, self.name)]


def test_rows_have_shape_and_type_and_are_read_by_id():
    rows = StoredRows(Store(X), 4)
    assert (rows.shape, rows.dtype, rows.dim(), len(rows)) == ((4, 3), torch.float32, 2, 4)
    assert rows.is_floating_point()
    ids = torch.tensor([3, 0, 3])
    assert rows.rows(ids).tolist() == X[ids].tolist()
    assert rows.index_select(0, ids).tolist() == X[ids].tolist()
    assert rows[1:3].tolist() == X[1:3].tolist()
    assert repr(rows) == 'StoredRows(shape=(4, 3), dtype=torch.float32)'


def test_a_copy_reads_from_the_same_store():
    store = MyFeatureStore()
    store.put_tensor(X, group_name=None, attr_name='x', index=torch.arange(4))
    rows = StoredRows(store, 4)
    assert copy.deepcopy(rows) is rows
    assert torch.equal(pickle.loads(pickle.dumps(rows))[0:4], X)


@pytest.mark.parametrize(
    ('use', 'name'), [(lambda x: x + 1, 'add'), (lambda x: x[0, 1], '__getitem__'),
                      (lambda x: x.index_select(1, torch.tensor([0])), 'index_select')]
)  # fmt: skip
def test_whoever_wants_all_of_it_is_told(use, name):
    with pytest.raises(ValueError, match=rf'feature_store: features in a store .* \(got {name}\)'):
        use(StoredRows(Store(X), 4))


def test_what_is_no_store_is_refused():
    with pytest.raises(TypeError, match=r'must be a PyG FeatureStore \(got Tensor\)'):
        StoredRows(X, 4)


@pytest.mark.parametrize('store', [Store(X, name='z'), Store(X[:3])])
def test_a_store_without_the_rows_is_refused(store):
    with pytest.raises(ValueError, match=r"feature_store: it must give rows of 'x' for 4 nodes"):
        StoredRows(store, 4)


def test_rows_of_another_shape_are_refused():
    store = Store(X)
    rows = StoredRows(store, 4)
    store.__dict__['x'] = X.double().numpy()
    with pytest.raises(
        ValueError, match=r'must have shape \(1, 3\) and be torch.float32 \(got \(1'
    ):
        rows.rows(torch.tensor([1]))


# Loaders #############################################################################


@pytest.fixture
def parted():
    """A graph without features, and a store of them."""
    data = some_graph()
    whole = copy.copy(data)
    x = data.x
    del data.x
    return whole, data, Store(x)


@pytest.mark.parametrize('workers', [0, 1])
def test_batches_have_the_features_of_their_nodes(parted, workers):
    whole, data, store = parted
    kwargs = {'batch_size': 2, 'log': False, 'num_workers': workers}
    expected = EvalSubgraphLoader(whole, PTR, **kwargs)
    found = EvalSubgraphLoader(data, PTR, feature_store=store, **kwargs)
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours.x) is torch.Tensor
        assert torch.equal(ours.x, theirs.x)
    assert 'x' not in data


def test_a_batch_reads_its_rows_in_one_call_batch_nodes_first_then_the_halo_by_id(parted):
    _, data, store = parted
    loader = EvalSubgraphLoader(data, PTR, feature_store=store, log=False)
    store.asked.clear()
    batch = next(iter(loader))
    assert store.asked == [batch.n_id.tolist()]
    halo = batch.n_id[batch.batch_size :]
    assert halo.tolist() == sorted(halo.tolist())


def test_training_and_inference_read_from_the_store(parted):
    whole, data, store = parted
    outs = []
    for d, kwargs in ((whole, {}), (data, {'feature_store': store})):
        torch.manual_seed(0)
        model = models.SAGE(40, 5, 8, 3, 2)
        loader = SubgraphLoader(d, PTR, log=False, keep_first_propagation=False, **kwargs)
        for batch in loader:
            model(batch).sum().backward()
        outs.append((model(loader=loader), [p.grad for p in model.parameters()]))
    assert torch.equal(outs[0][0], outs[1][0])
    assert all(torch.equal(a, b) for a, b in zip(outs[0][1], outs[1][1], strict=True))


def test_features_in_two_places_are_refused(parted):
    whole, _, store = parted
    with pytest.raises(ValueError, match=r"SubgraphLoader: 'data.x' must be absent where"):
        SubgraphLoader(whole, PTR, feature_store=store, log=False)


def test_data_of_another_kind_is_refused_in_words(parted):
    with pytest.raises(TypeError, match=r'SubgraphLoader: '):
        SubgraphLoader('graph', PTR, feature_store=parted[2], log=False)


def test_nan_in_a_store_is_found():
    data = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=4)
    x = X.clone()
    x[2, 1] = float('nan')
    with pytest.raises(ValueError, match=r"'data\.x' must not hold NaN"):
        SubgraphLoader(data, torch.tensor([0, 4]), feature_store=Store(x), log=False)
