"""The script that makes the embedded graph from WordNet's own files."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / 'torch_geometric_autoscale' / 'datasets' / 'wordnet'

# A dictionary of five synsets. Words, pointers and glosses are chosen to meet every rule once.
MINI = {
    'noun': """\
  1 A licence of
  2 two lines.
00000010 03 n 01 entity 0 002 ~ 00000020 n 0000 + 00000010 v 0101 | that which is; "it's SO2"
00000020 18 n 02 person 0 soul 1 003 @ 00000010 n 0000 = 00000010 s 0000 ~ 00000020 n 0000 | a Being
""",
    'verb': """\
00000010 42 v 01 be 0 001 $ 00000010 v 0000 02 + 01 00 + 02 00 | living in the 19th age
""",
    'adj': """\
00000010 00 s 01 alive(p) 0 001 ! 00000010 r 0101 | Living
""",
    'adv': """\
00000010 02 r 01 alive 0 000 | living; living
""",
}


@pytest.fixture(scope='module')
def script():
    path = REPOSITORY / 'scripts' / 'build_wordnet.py'
    spec = importlib.util.spec_from_file_location('build_wordnet', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules['build_wordnet'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['build_wordnet']


@pytest.fixture
def mini_dict(tmp_path):
    folder = tmp_path / 'dict'
    folder.mkdir()
    for part, text in MINI.items():
        (folder / f'data.{part}').write_text(text)
    return folder


def test_nodes_are_the_lines_of_the_four_files_in_order(script, mini_dict):
    synsets = script.read_dict(mini_dict)
    assert [(s.part, s.offset, s.label) for s in synsets] == [
        ('noun', 10, 3),
        ('noun', 20, 18),
        ('verb', 10, 42),
        ('adj', 10, 0),
        ('adv', 10, 2),
    ]


def test_pointers_name_the_file_of_their_target(script, mini_dict):
    synsets = script.read_dict(mini_dict)
    assert synsets[0].pointers == (('~', 'noun', 20), ('+', 'verb', 10))
    assert synsets[1].pointers == (('@', 'noun', 10), ('=', 'adj', 10), ('~', 'noun', 20))
    assert synsets[4].pointers == ()


def test_words_begin_with_a_letter_and_count_once(script, mini_dict):
    synsets = script.read_dict(mini_dict)
    assert synsets[0].words == ('is', 'it', 's', 'so2', 'that', 'which')
    assert synsets[2].words == ('age', 'in', 'living', 'th', 'the')
    assert synsets[4].words == ('living',)


def test_edges_run_both_ways_with_the_lowest_type(script, mini_dict):
    edge_index, edge_type = script.build_edges(script.read_dict(mini_dict))
    name = script.EDGE_TYPE_NAMES
    edges = zip(*edge_index.tolist(), edge_type.tolist(), strict=True)
    assert [(u, v, name[t]) for u, v, t in edges] == [
        (0, 1, 'hyponym'),
        (0, 2, 'derivationally related'),
        (1, 0, 'hypernym'),
        (1, 3, 'attribute'),
        (2, 0, 'reverse of derivationally related'),
        (3, 1, 'reverse of attribute'),
        (3, 4, 'antonym'),
        (4, 3, 'reverse of antonym'),
    ]


def test_the_split_is_half_a_quarter_a_quarter(script):
    masks = script.build_split(10)
    assert [int(mask.sum()) for mask in masks] == [5, 2, 3]
    assert (np.stack(masks).sum(axis=0) == 1).all()


def test_mutual_information_is_zero_for_chance_and_entropy_for_certainty(script):
    # Two classes of two nodes; a word in one node of each, and one in both nodes of class 0.
    counts = np.array([[1, 1], [2, 0]], dtype=float)
    information = script.mutual_information(counts, np.array([2.0, 2.0]))
    assert information == pytest.approx([0, math.log(2)])


def test_the_words_that_tell_most_are_chosen_from_training_nodes(script, mini_dict):
    synsets = script.read_dict(mini_dict)
    labels = np.array([synset.label for synset in synsets])
    train_mask = np.array([False, False, True, True, False])
    # 'th' and 'age' tell the two apart; 'living' is in both; 'in' and 'the' are stop words.
    assert script.choose_words(synsets, labels, train_mask, 2) == ['age', 'th']
    assert script.choose_words(synsets, labels, train_mask, 9) == ['age', 'living', 'th']


def test_features_are_the_words_of_the_gloss(script, mini_dict):
    parts = script.build_features(script.read_dict(mini_dict), ['living', 'so2'])
    assert parts['x_indptr'].tolist() == [0, 1, 1, 2, 3, 4]
    assert parts['x_indices'].tolist() == [1, 0, 0, 0]
    assert parts['x_data'].tolist() == [1, 1, 1, 1]
    assert parts['x_shape'].tolist() == [5, 2]


def test_the_licence_loses_its_line_numbers(script, mini_dict):
    assert script.read_licence(mini_dict) == 'A licence of\ntwo lines.\n'


def test_two_runs_write_the_same_bytes(script, mini_dict, tmp_path, capsys):
    for run in ('first', 'second'):
        script.main(['--dict', str(mini_dict), '--out', str(tmp_path / run)])
    assert '5 nodes, 8 edges' in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / 'first').iterdir())
    assert names == ['LICENSE', 'wordnet.json', 'wordnet.npz']
    for name in names:
        first = (tmp_path / 'first' / name).read_bytes()
        assert first == (tmp_path / 'second' / name).read_bytes()


def test_a_folder_without_the_files_is_refused(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(['--dict', str(tmp_path)])
    assert 'without data.noun, data.verb, data.adj, data.adv' in capsys.readouterr().err


def test_debians_files_give_the_shipped_graph(script, tmp_path):
    if not (script.DEBIAN_DICT / 'data.noun').is_file():
        pytest.skip("Debian's package wordnet-base is not installed")
    script.main(['--out', str(tmp_path)])
    with np.load(tmp_path / 'wordnet.npz') as built, np.load(SHIPPED / 'wordnet.npz') as shipped:
        assert built.files == shipped.files
        for key in built.files:
            assert built[key].dtype == shipped[key].dtype
            np.testing.assert_array_equal(built[key], shipped[key])
    for name in ('wordnet.json', 'LICENSE'):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
    assert json.loads((tmp_path / 'wordnet.json').read_text())['word_names'][:2] == [
        'abnormal',
        'acid',
    ]
