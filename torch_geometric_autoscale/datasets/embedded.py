"""The WordNet graph that ships inside the package, in the folder ``wordnet`` beside this file."""

import json
from collections.abc import Callable
from pathlib import Path

from torch_geometric.data import Data, InMemoryDataset

from torch_geometric_autoscale.datasets.npz import load_npz

_FOLDER = Path(__file__).parent / 'wordnet'


class WordNet(InMemoryDataset):
    """The synsets of WordNet 3.0 and the pointers between them: one graph, no download.

    ======  ========================================================================
    nodes   117,659 synsets (nouns, verbs, adjectives, adverbs)
    edges   367,578, both directions of every pointer, no duplicates or self-loops
    x       (117659, 512): which of 512 words occur in the synset's gloss, 0 or 1
    y       (117659,): lexicographer file, 45 classes such as ``noun.food``
    masks   (117659,): 50% training, 25% validation, 25% test, drawn at random
    ======  ========================================================================

    ``edge_type`` (367578,) is the kind of pointer, the lowest where two synsets share several. The
    words are those with the highest mutual information with the label on training nodes; the
    words of the synset itself are not used. ``scripts/build_wordnet.py`` makes the files anew.

    Args:
        root: Accepted for symmetry with PyG's other data sets; nothing is read or written there.
        transform: Applied to the ``Data`` at every access.
        pre_transform: Applied to the ``Data`` once, when it is loaded.

    Attributes:
        class_names: The 45 names of ``y``.
        word_names: The 512 words of ``x``.
        edge_type_names: The 52 names of ``edge_type``; the second half are reverse types.
        licence: The text of the WordNet 3.0 licence.

    Source: WordNet 3.0, copyright 2006 by Princeton University, https://wordnet.princeton.edu.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(None if root is None else str(root), transform, pre_transform)
        names = json.loads((_FOLDER / 'wordnet.json').read_text('utf-8'))
        self.class_names: list[str] = names['class_names']
        self.word_names: list[str] = names['word_names']
        self.edge_type_names: list[str] = names['edge_type_names']
        data = load_npz(_FOLDER / 'wordnet.npz')
        self.data, self.slices = self.collate([pre_transform(data) if pre_transform else data])

    @property
    def licence(self) -> str:
        """The text of the WordNet 3.0 licence, which every copy must carry."""
        return (_FOLDER / 'LICENSE').read_text('utf-8')

    def __repr__(self) -> str:
        data = self._data
        return (
            f'{type(self).__name__}(num_nodes={data.num_nodes}, num_edges={data.num_edges}, '
            f'num_features={self.num_features}, num_classes={self.num_classes})'
        )
