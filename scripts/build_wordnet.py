"""Rebuilds the embedded WordNet graph from the ``dict`` files of WordNet 3.0.

What it shows: every choice that made ``datasets/wordnet/wordnet.npz`` (nodes, edges, labels, words,
split). It needs NumPy only, takes about 4 seconds, writes ``wordnet.npz``, ``wordnet.json`` and
``LICENSE``, and prints the sizes. The same ``dict`` files give the same arrays to the bit.

    apt-get install wordnet-base
    python scripts/build_wordnet.py --dict /usr/share/wordnet \\
        --out torch_geometric_autoscale/datasets/wordnet

Source: WordNet 3.0, Princeton University, https://wordnet.princeton.edu; file format: manual page
``wndb(5WN)``, names of lexicographer files and pointers: ``lexnames(5WN)``, ``wninput(5WN)``.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DEBIAN_DICT = Path('/usr/share/wordnet')

# Nodes are the synsets of these files, in this order, each file from top to bottom.
PARTS = ('noun', 'verb', 'adj', 'adv')
PART_OF_LETTER = {'n': 'noun', 'v': 'verb', 'a': 'adj', 's': 'adj', 'r': 'adv'}

# The label of a synset is the number of its lexicographer file: the index into this list.
_CLASSES = """
adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body
noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location
noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process
noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change
verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation
verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
adj.ppl
"""
CLASS_NAMES = _CLASSES.split()

# Pointer symbols in the order of their type ids; id + len(POINTERS) is the reverse of a type.
POINTERS = {
    '!': 'antonym',
    '#m': 'member holonym',
    '#p': 'part holonym',
    '#s': 'substance holonym',
    '$': 'verb group',
    '%m': 'member meronym',
    '%p': 'part meronym',
    '%s': 'substance meronym',
    '&': 'similar to',
    '*': 'entailment',
    '+': 'derivationally related',
    '-c': 'member of domain topic',
    '-r': 'member of domain region',
    '-u': 'member of domain usage',
    ';c': 'domain topic',
    ';r': 'domain region',
    ';u': 'domain usage',
    '<': 'participle of',
    '=': 'attribute',
    '>': 'cause',
    '@': 'hypernym',
    '@i': 'instance hypernym',
    '\\': 'pertainym',
    '^': 'also see',
    '~': 'hyponym',
    '~i': 'instance hyponym',
}
EDGE_TYPE_NAMES = [*POINTERS.values(), *(f'reverse of {name}' for name in POINTERS.values())]

# A word begins with a letter: 'SO2' is one word, '19th' gives 'th', 'don't' gives 'don' and 't'.
WORD = re.compile('[a-z][a-z0-9]*')

# Words that are never features, and neither is any single letter.
_STOP_WORDS = """
an and any are as at be being by can for from had has have having in into is it its more no not of
on one or some than that the this to use used was were when where which who whose with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Synset:
    """One line of a ``data.*`` file: a node.

    Attributes:
        part: The file it stands in: ``'noun'``, ``'verb'``, ``'adj'`` or ``'adv'``.
        offset: Its byte offset there, its identifier together with ``part``.
        label: The number of its lexicographer file.
        pointers: ``(symbol, part, offset)`` of each pointer to another synset.
        words: The distinct words of its gloss, sorted.
    """

    part: str
    offset: int
    label: int
    pointers: tuple[tuple[str, str, int], ...]
    words: tuple[str, ...]


def parse_line(part: str, line: str) -> Synset:
    """Read one synset from its line in ``data.<part>``."""
    head, _, gloss = line.partition('|')
    fields = head.split()
    first = 4 + 2 * int(fields[3], 16)  # After the words, each with its lexical id.
    pointers = []
    for at in range(first + 1, first + 1 + 4 * int(fields[first]), 4):
        symbol, offset, letter = fields[at : at + 3]
        pointers.append((symbol, PART_OF_LETTER[letter], int(offset)))
    words = tuple(sorted(set(WORD.findall(gloss.lower()))))
    return Synset(part, int(fields[0]), int(fields[1]), tuple(pointers), words)


def read_dict(folder: Path) -> list[Synset]:
    """Read every synset of the four ``data.*`` files; lines of the licence begin with a space."""
    synsets = []
    for part in PARTS:
        for line in (folder / f'data.{part}').read_text('ascii').splitlines():
            if not line.startswith(' '):
                synsets.append(parse_line(part, line))
    return synsets


def read_licence(folder: Path) -> str:
    """Return the licence that heads every ``data.*`` file, without its line numbers."""
    lines = []
    for line in (folder / 'data.noun').read_text('ascii').splitlines():
        if not line.startswith(' '):
            break
        lines.append(re.sub(r'^ +\d+ ', '', line).rstrip())
    return '\n'.join(lines) + '\n'


def build_edges(synsets: Sequence[Synset]) -> tuple[Array, Array]:
    """Return ``edge_index`` (2, E) and ``edge_type`` (E,), sorted by source, then target.

    Each pointer gives its own edge and the reverse one; self-loops are dropped, and of several
    edges between the same two synsets the lowest type stays.
    """
    node_of = {(s.part, s.offset): node for node, s in enumerate(synsets)}
    type_of = {symbol: number for number, symbol in enumerate(POINTERS)}
    edges = np.array(
        [
            (node, node_of[part, offset], type_of[symbol])
            for node, synset in enumerate(synsets)
            for symbol, part, offset in synset.pointers
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    edges = edges[edges[:, 0] != edges[:, 1]]
    reverse = edges[:, [1, 0, 2]] + np.array([0, 0, len(POINTERS)])
    edges = np.concatenate([edges, reverse])
    edges = edges[np.lexsort((edges[:, 2], edges[:, 1], edges[:, 0]))]
    first = np.ones(len(edges), dtype=bool)
    first[1:] = (edges[1:, :2] != edges[:-1, :2]).any(axis=1)
    edges = edges[first]
    return np.ascontiguousarray(edges[:, :2].T), edges[:, 2].astype(np.uint8)


def build_split(num_nodes: int) -> tuple[Array, Array, Array]:
    """Return random train, validation and test masks (N,): 50%, 25%, 25%, seed 0."""
    perm = np.random.RandomState(0).permutation(num_nodes)
    masks = []
    for nodes in np.split(perm, [int(0.5 * num_nodes), int(0.75 * num_nodes)]):
        mask = np.zeros(num_nodes, dtype=bool)
        mask[nodes] = True
        masks.append(mask)
    return masks[0], masks[1], masks[2]


def mutual_information(counts: Array, class_sizes: Array) -> Array:
    """Return the mutual information in nats between each word's presence and the label.

    Args:
        counts: (W, C) nodes of each class whose gloss has the word.
        class_sizes: (C,) nodes of each class.
    """
    total = class_sizes.sum()

    def part(joint: Array, presence: Array) -> Array:
        independent = presence[:, None] * class_sizes[None, :]
        log = np.zeros(joint.shape)
        np.log(joint * total / np.maximum(independent, 1), out=log, where=joint > 0)
        return (joint / total * log).sum(axis=1)

    present = counts.sum(axis=1)
    return part(counts, present) + part(class_sizes[None, :] - counts, total - present)


def choose_words(
    synsets: Sequence[Synset], labels: Array, train_mask: Array, num_words: int
) -> list[str]:
    """Return the ``num_words`` words that tell most about the label on training nodes, sorted."""
    words = sorted(
        {
            word
            for synset, is_train in zip(synsets, train_mask, strict=True)
            if is_train
            for word in synset.words
            if len(word) > 1 and word not in STOP_WORDS
        }
    )
    row_of = {word: row for row, word in enumerate(words)}
    counts = np.zeros((len(words), len(CLASS_NAMES)))
    for node in train_mask.nonzero()[0].tolist():
        for word in synsets[node].words:
            if word in row_of:
                counts[row_of[word], labels[node]] += 1
    class_sizes = np.bincount(labels[train_mask], minlength=len(CLASS_NAMES)).astype(float)
    ranked = np.argsort(-mutual_information(counts, class_sizes), kind='stable')
    return sorted(words[row] for row in ranked[:num_words])


def build_features(synsets: Sequence[Synset], words: Sequence[str]) -> dict[str, Array]:
    """Return the CSR parts of the 0/1 matrix (N, W): which word occurs in which gloss."""
    column_of = {word: column for column, word in enumerate(words)}
    rows = [[column_of[word] for word in s.words if word in column_of] for s in synsets]
    indices = np.array([column for row in rows for column in row], dtype=np.int32)
    return {
        'x_data': np.ones(len(indices), dtype=np.float32),
        'x_indices': indices,
        'x_indptr': np.cumsum([0, *map(len, rows)], dtype=np.int64),
        'x_shape': np.array([len(synsets), len(words)], dtype=np.int64),
    }


def build(
    synsets: Sequence[Synset], num_words: int = 512
) -> tuple[dict[str, Array], dict[str, list[str]]]:
    """Return the arrays of the ``.npz`` file and the names that belong to their numbers."""
    labels = np.array([synset.label for synset in synsets], dtype=np.int64)
    train_mask, val_mask, test_mask = build_split(len(synsets))
    words = choose_words(synsets, labels, train_mask, num_words)
    edge_index, edge_type = build_edges(synsets)
    arrays = {
        **build_features(synsets, words),
        'edge_index': edge_index,
        'y': labels,
        'train_mask': train_mask,
        'val_mask': val_mask,
        'test_mask': test_mask,
        'edge_type': edge_type,
    }
    names = {
        'class_names': CLASS_NAMES,
        'edge_type_names': EDGE_TYPE_NAMES,
        'word_names': words,
    }
    return arrays, names


def main(argv: Sequence[str] | None = None) -> None:
    """Build the graph and write its three files."""
    repository = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').partition('\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--dict',
        type=Path,
        default=DEBIAN_DICT,
        metavar='FOLDER',
        help="folder with 'data.noun', 'data.verb', 'data.adj' and 'data.adv'",
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=repository / 'torch_geometric_autoscale' / 'datasets' / 'wordnet',
        metavar='FOLDER',
        help='where the three files are written',
    )
    args = parser.parse_args(argv)
    missing = [part for part in PARTS if not (args.dict / f'data.{part}').is_file()]
    if missing:
        parser.error(
            f"'--dict' must hold the WordNet 3.0 data files (got {args.dict} without "
            f'{", ".join(f"data.{part}" for part in missing)}). '
            "Install Debian's 'wordnet-base' or name another folder."
        )
    arrays, names = build(read_dict(args.dict))
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / 'wordnet.npz', **arrays)  # type: ignore[arg-type]
    (args.out / 'wordnet.json').write_text(json.dumps(names, indent=1) + '\n', 'utf-8')
    (args.out / 'LICENSE').write_text(read_licence(args.dict), 'utf-8')
    print(
        f'{len(arrays["y"])} nodes, {arrays["edge_index"].shape[1]} edges, '
        f'{len(names["word_names"])} words, {len(names["class_names"])} classes: {args.out}'
    )


if __name__ == '__main__':
    main()
