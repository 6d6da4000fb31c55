"""Partitions: which nodes share a batch.

``perm, ptr = metis(data, num_parts)``, then ``data = permute(data, perm)``.
"""

from .dispatch import (
    available_methods as available_methods,
)
from .dispatch import (
    best_method as best_method,
)
from .dispatch import (
    kaminpar as kaminpar,
)
from .dispatch import (
    label_propagation as label_propagation,
)
from .dispatch import (
    ldg as ldg,
)
from .dispatch import (
    metis as metis,
)
from .dispatch import (
    partition as partition,
)
from .dispatch import (
    random_partition as random_partition,
)
from .quality import PartitionQuality as PartitionQuality
from .quality import partition_quality as partition_quality
from .reorder import permute as permute
