"""Data sets by name and by path."""

import re

import pytest
import torch
from torch_geometric.datasets import Amazon, Coauthor, Planetoid

from torch_geometric_autoscale.datasets import available, describe, get_data, pyg


@pytest.fixture
def no_network(monkeypatch):
    """Every connection fails at once."""

    def refuse(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr('socket.getaddrinfo', refuse)
    monkeypatch.setattr('socket.socket.connect', refuse)
    monkeypatch.setattr(Planetoid, 'download', refuse)  # It downloads in another thread.


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


def test_the_names_are_listed_with_a_description():
    assert available() == [
        'wordnet',
        'cora',
        'citeseer',
        'pubmed',
        'coauthor-cs',
        'coauthor-physics',
        'amazon-computers',
        'amazon-photo',
        'wikics',
        'cluster',
        'pattern',
        'cluster-sbm',
        'reddit',
        'ppi',
        'flickr',
        'yelp',
        'ogbn-arxiv',
        'ogbn-products',
        'linux_calls',
        'dblp_hetero',
    ]
    assert describe('Cora') == 'citations: 2,708 papers, 10,556 edges, 7 classes'


@pytest.mark.parametrize('name', ['wordnet', 'WordNet', 'word_net', 'Word-Net'])
def test_wordnet_needs_no_root_and_its_spelling_does_not_matter(name):
    data, in_channels, out_channels = get_data(None, name)
    assert data.num_nodes == 117659
    assert (in_channels, out_channels) == (512, 45)


def test_cora_has_normalised_rows_and_the_public_split(copy_of_shared, no_network):
    data, in_channels, out_channels = get_data(copy_of_shared('Planetoid/Cora'), 'cora')
    assert (data.num_nodes, data.num_edges) == (2708, 10556)
    assert (in_channels, out_channels) == (1433, 7)
    torch.testing.assert_close(data.x.sum(dim=1), torch.ones(2708))
    sizes = [int(mask.sum()) for mask in (data.train_mask, data.val_mask, data.test_mask)]
    assert sizes == [140, 500, 1000]


@pytest.mark.parametrize(
    ('folder', 'name', 'size', 'channels'),
    [
        ('Amazon/Photo', 'Amazon_Photo', (7650, 238162), (745, 8)),
        ('Coauthor/CS', 'coauthorcs', (18333, 163788), (6805, 15)),
    ],
)
def test_amazon_and_coauthor_have_twenty_splits(
    copy_of_shared, no_network, folder, name, size, channels
):
    state = torch.get_rng_state()
    data, *got = get_data(copy_of_shared(folder), name)
    assert torch.equal(torch.get_rng_state(), state)
    assert (data.num_nodes, data.num_edges) == size
    assert tuple(got) == channels
    num_nodes, num_classes = size[0], channels[1]
    assert data.train_mask.shape == (num_nodes, 20)
    assert data.train_mask.sum(dim=0).tolist() == [20 * num_classes] * 20
    assert data.val_mask.sum(dim=0).tolist() == [30 * num_classes] * 20
    assert data.test_mask.sum(dim=0).tolist() == [num_nodes - 50 * num_classes] * 20


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(copy_of_shared, monkeypatch):
    root = copy_of_shared('Planetoid/Cora')
    before = files_below(root)
    monkeypatch.setattr(pyg.os, 'access', lambda *args: False)
    data, *_ = get_data(root, 'cora')
    assert data.num_edges == 10556
    assert files_below(root) == before


def test_processed_files_are_kept_and_read_again(copy_of_shared, monkeypatch):
    root = copy_of_shared('Planetoid/Cora')
    first, *_ = get_data(root, 'cora')
    monkeypatch.setattr(Planetoid, 'process', None)
    second, *_ = get_data(root, 'cora')
    assert torch.equal(first.x, second.x)
    assert 'Planetoid/Cora/processed/data.pt' in files_below(root)


@pytest.mark.parametrize(
    ('name', 'folder', 'files'),
    [
        ('cora', 'Planetoid/Cora', 'ind.cora.x, ind.cora.tx, ind.cora.allx, ind.cora.y'),
        ('pubmed', 'Planetoid/PubMed', 'ind.pubmed.x, ind.pubmed.tx'),
        ('amazon-computers', 'Amazon/Computers', 'amazon_electronics_computers.npz'),
        ('coauthor-physics', 'Coauthor/Physics', 'ms_academic_phy.npz'),
    ],
)
def test_missing_files_are_named_with_their_folder(tmp_path, no_network, name, folder, files):
    message = re.escape(f"get_data: '{tmp_path / 'root' / folder / 'raw'}' must hold {files}")
    with pytest.raises(FileNotFoundError, match=message):
        get_data(tmp_path / 'root', name)
    assert files_below(tmp_path) == []


def test_one_missing_file_is_named_and_the_others_stay(copy_of_shared, no_network):
    root = copy_of_shared('Planetoid/Cora')
    (root / 'Planetoid/Cora/raw/ind.cora.graph').unlink()
    before = files_below(root)
    with pytest.raises(FileNotFoundError, match=r"raw' must hold ind.cora.graph \(got none"):
        get_data(root, 'cora')
    assert files_below(root) == before


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, monkeypatch):
    def half(self):
        (tmp_path / 'root/Amazon/Photo/raw/amazon_electronics_photo.npz').write_text('half')
        raise KeyboardInterrupt

    monkeypatch.setattr(Amazon, 'download', half)
    with pytest.raises(KeyboardInterrupt):
        get_data(tmp_path / 'root', 'amazon-photo')
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ('folder', 'name', 'file'),
    [
        ('Planetoid/Cora', 'cora', 'ind.cora.allx'),
        ('Planetoid/Cora', 'cora', 'ind.cora.graph'),
        ('Amazon/Photo', 'amazon-photo', 'amazon_electronics_photo.npz'),
    ],
)
def test_a_raw_file_cut_short_is_reported_with_its_folder(copy_of_shared, folder, name, file):
    root = copy_of_shared(folder)
    path = root / folder / 'raw' / file
    path.write_bytes(path.read_bytes()[:-1000])
    before = files_below(root)
    message = re.escape(f"the files in '{root / folder / 'raw'}' must be complete (got ")
    with pytest.raises(ValueError, match=message):
        get_data(root, name)
    assert files_below(root) == before


def test_a_list_of_test_nodes_cut_short_is_reported(copy_of_shared):
    root = copy_of_shared('Planetoid/Cora')
    path = root / 'Planetoid/Cora/raw/ind.cora.test.index'
    path.write_text(''.join(path.read_text().splitlines(keepends=True)[:900]))
    with pytest.raises(ValueError, match=r"test.index' must list 1000 test nodes \(got 900\)"):
        get_data(root, 'cora')


def test_a_damaged_processed_file_is_reported_as_such(copy_of_shared):
    root = copy_of_shared('Planetoid/Cora')
    get_data(root, 'cora')
    path = root / 'Planetoid/Cora/processed/data.pt'
    path.write_bytes(path.read_bytes()[:-1000])
    message = re.escape(f"the files in '{path.parent}' must be complete")
    with pytest.raises(ValueError, match=message):
        get_data(root, 'cora')


def test_a_full_disk_is_reported_as_it_is(copy_of_shared, monkeypatch):
    def full(self):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Planetoid, 'process', full)
    with pytest.raises(OSError, match='No space left on device'):
        get_data(copy_of_shared('Planetoid/Cora'), 'cora')


def test_a_package_that_pyg_needs_is_named_with_its_extra(copy_of_shared, monkeypatch):
    def without_scipy(self):
        raise ModuleNotFoundError("No module named 'scipy'", name='scipy')

    monkeypatch.setattr(Planetoid, 'process', without_scipy)
    with pytest.raises(ImportError, match=r"package 'scipy' is needed.*autoscale\[full\]"):
        get_data(copy_of_shared('Planetoid/Cora'), 'cora')


@pytest.mark.parametrize(
    ('name', 'near'),
    [('corra', "'cora'"), ('photo', "'amazon-photo'"), ('coauthor', "'coauthor-cs'")],
)
def test_an_unknown_name_lists_near_and_known_ones(name, near):
    with pytest.raises(ValueError, match=rf"\(got '{name}'\). Did you mean .*{near}.*Known are"):
        get_data(None, name)
    with pytest.raises(ValueError, match='Known are wordnet, cora, citeseer, pubmed, coauthor-cs'):
        get_data(None, name)


def test_an_unknown_name_may_be_a_file_in_the_root(arrays, save):
    root = save(arrays).parent
    with pytest.raises(ValueError, match=r"Did you mean 'graph.npz'"):
        get_data(root, 'graph')


def test_a_set_with_files_needs_a_root():
    with pytest.raises(ValueError, match="'cora' needs a 'root' folder"):
        get_data(None, 'cora')


def test_a_file_is_found_from_here_and_from_the_root(arrays, save, monkeypatch):
    path = save(arrays)
    for root, name in [(None, path), (None, str(path)), (path.parent, 'graph.npz')]:
        data, in_channels, out_channels = get_data(root, name)
        assert data.num_nodes == 3
        assert (in_channels, out_channels) == (2, 2)
    monkeypatch.chdir(path.parent)
    assert get_data('elsewhere', 'graph.npz')[0].num_nodes == 3


def test_a_file_that_is_nowhere_is_reported_with_both_places(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'nothing at .* or {tmp_path}/some.npz'):
        get_data(tmp_path, 'some.npz')


def test_several_labels_per_node_count_as_output_channels(arrays, save):
    arrays['y'] = [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert get_data(None, save(arrays))[1:] == (2, 3)


def test_a_graph_without_labels_is_refused(arrays, save):
    arrays['y'] = [-1, -1, -1]
    for part in ('train', 'val', 'test'):
        arrays[f'{part}_mask'] = [False, False, False]
    with pytest.raises(ValueError, match="'y' must label at least one node"):
        get_data(None, save(arrays))


@pytest.mark.parametrize(
    ('cls', 'name', 'files'),
    [
        (Planetoid, 'PubMed', [f'ind.pubmed.{part}' for part in pyg.PLANETOID_FILES]),
        (Amazon, 'Computers', [pyg.AMAZON_FILES['Computers']]),
        (Amazon, 'Photo', [pyg.AMAZON_FILES['Photo']]),
        (Coauthor, 'CS', [pyg.COAUTHOR_FILES['CS']]),
        (Coauthor, 'Physics', [pyg.COAUTHOR_FILES['Physics']]),
    ],
)
def test_folders_and_file_names_are_those_of_pyg(tmp_path, monkeypatch, cls, name, files):
    class Stop(Exception):
        pass

    def download(self):
        names = self.raw_file_names
        assert self.raw_dir == str(tmp_path / name / 'raw')
        assert ([names] if isinstance(names, str) else names) == files
        raise Stop

    monkeypatch.setattr(cls, 'download', download)
    with pytest.raises(Stop):
        cls(str(tmp_path), name)
