"""The numbers that a generated graph follows from."""

from dataclasses import dataclass

from ..errors import explain

WHO = 'generate_graph'
FANOUT = 16  # blocks of one level in a block of the next
SMALLEST, LARGEST = 64, 1024  # nodes of a community
SIZE_EXPONENT = 2.0  # of the distribution of these sizes
STAY = 0.75  # share of a node's edges that stay within its block, at every level
ROOM = 8  # a node has at most one edge within a block for so many nodes of it


@dataclass(frozen=True)
class Recipe:
    """What a generated graph follows from; see :func:`generate_graph`.

    Raises:
        TypeError, ValueError: A number is of another type, or out of range.
    """

    num_nodes: int
    avg_degree: float
    num_features: int
    num_classes: int
    seed: int
    exponent: float
    signal: float
    label_noise: float
    train: float
    val: float

    def __post_init__(self) -> None:
        for name, least in (
            ('num_nodes', 2 * SMALLEST), ('num_features', 1), ('num_classes', 2), ('seed', 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(
                    explain(WHO, f"'{name}' must be a whole number", repr(value), 'Pass one.')
                )
            if value < least:
                raise ValueError(
                    explain(WHO, f"'{name}' must be at least {least:,}", f'{value:,}', 'Pass more.')
                )
        if self.num_nodes >= 2**31:
            raise ValueError(
                explain(WHO, "'num_nodes' must be below 2^31", f'{self.num_nodes:,}', 'Pass less.')
            )
        for name, low, high in (
            ('avg_degree', 1, SMALLEST // 2), ('exponent', 2, 10), ('signal', 0, 100),
            ('label_noise', 0, 1), ('train', 0, 1), ('val', 0, 1 - self.train),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high or (name == 'exponent' and value == 2):
                raise ValueError(
                    explain(WHO, f"'{name}' must lie between {low:g} and {high:g}", value,
                            'Pass another number.')
                )  # fmt: skip
