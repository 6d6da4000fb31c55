"""What a plan decides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Settings of a training.

    Attributes:
        num_parts: Parts that the graph is cut into.
        batch_size: Parts per batch.
        history_tier, history_dtype: Where and how histories are kept, as in :class:`History`.
        history_cache: Bytes of their cache.
        keep_first_propagation: As in :class:`SubgraphLoader`.
        measure_memory: Whether the memory of a step is measured on a copy of the model.
        full_batch: Whether a full-batch training follows, for comparison.
    """

    num_parts: int
    batch_size: int
    history_tier: str = 'ram'
    history_dtype: str = 'float32'
    history_cache: int = 0
    keep_first_propagation: bool = True
    measure_memory: bool = False
    full_batch: bool = False
