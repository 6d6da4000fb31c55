"""A history: what was last computed for each node at one layer boundary."""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import explain
from ..graph import check_same_graph
from ..sizes import parse_size
from .cache import CachedStore
from .disk import Disk
from .encoding import DTYPES, encoding_of, parse_dtype
from .store import Store
from .table import TableStore
from .tiers import new_medium


class InFlight(Protocol):
    """Rows that are moved to or from a table by somebody else."""

    def finish(self) -> None:
        """Wait until that is over, and raise what went wrong."""


class History(torch.nn.Module):
    """A table of embeddings, ``(num_embeddings, embedding_dim)``, on a medium of choice.

    The table is no parameter and no buffer: ``model.to(...)`` leaves it where it is, and it travels
    through ``state_dict`` as extra state, so ``deepcopy`` and ``torch.save`` of the state keep it.

    Args:
        num_embeddings: Number of nodes ``N``.
        embedding_dim: Channels ``C``.
        device: The device in whose memory a table on ``'device'``, or the cache, lies (default: the
            CPU). Without a tier, another device than the CPU means ``'device'``.
        dtype: How rows are kept, as a type or its name: ``'float64'``, ``'float32'``;
            ``'bfloat16'`` and ``'float16'``, rounded; ``'int8'`` with one scale per row, see
            :class:`Int8Encoding`. If ``None`` or ``'auto'``, the default type, widened when wider
            rows are pushed, so that a model in ``float64`` keeps its precision.
        tier: ``'ram'``; ``'pinned'``: page-locked memory, for fast transfers; ``'device'``;
            ``'disk'``: memory-mapped files, for tables larger than memory.
        folder: For ``'disk'``: a folder on the disk to use (default: the system's for temporary
            files). The files in it have no name, and are gone with the process.
        cache_size_in_bytes: Keep the rows that are read most in so much memory of ``device``, as a
            number or text such as ``'256MB'``; ``None``: no cache. See :class:`CachedStore`.

    Raises:
        ValueError: For sizes, a type, a tier, a device or a cache that cannot be.
        OSError: See :class:`Disk`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        tier: str | None = None,
        folder: str | Path | None = None,
        cache_size_in_bytes: int | str | None = None,
    ) -> None:
        super().__init__()
        for name, value in [('num_embeddings', num_embeddings), ('embedding_dim', embedding_dim)]:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(
                    explain('History', f"'{name}' must be a whole number, not negative",
                            repr(value), 'Pass the size of the table.')
                )  # fmt: skip
        chosen = parse_dtype('History', dtype)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.dtype_is_chosen = chosen is not None
        self.graph: str | None = None
        medium = new_medium(tier, device, folder)
        elsewhere = device is not None and torch.device(device).type != 'cpu'
        if elsewhere and medium.tier != 'device' and cache_size_in_bytes is None:
            raise ValueError(
                explain('History', f"a table on '{medium.tier}' is read through main memory",
                        f"device '{device}'", 'Leave out the device; batches may be on any.')
            )  # fmt: skip
        encoding = encoding_of(chosen or torch.get_default_dtype())
        store = TableStore(num_embeddings, embedding_dim, encoding, medium)
        self.in_flight: InFlight | None = None
        self.stored: Store = _with_cache(store, cache_size_in_bytes, device)
        self.tier_is_chosen = tier is not None or device is not None

    @property
    def store(self) -> Store:
        """What keeps the rows, once nothing moves to or from it any more.

        Raises:
            BaseException: What went wrong meanwhile.
        """
        self.settle()
        return self.stored

    @store.setter
    def store(self, store: Store) -> None:
        self.settle()
        self.stored = store

    def settle(self) -> None:
        """Wait for rows that a transfer pool moves.

        Raises:
            BaseException: What went wrong meanwhile.
        """
        if self.in_flight is not None:
            self.in_flight.finish()

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**self.__dict__, 'in_flight': None}

    @property
    def dtype(self) -> torch.dtype:
        return self.stored.encoding.dtype

    @property
    def row_dtype(self) -> torch.dtype:
        """Type of rows that are pulled."""
        return self.stored.encoding.row_dtype

    @property
    def device(self) -> torch.device:
        return self.stored.device

    @property
    def is_on_device(self) -> bool:
        """Whether a device other than the CPU has the rows, or a cache of them, in its memory."""
        return self.stored.device.type != 'cpu'

    @property
    def tier(self) -> str:
        return self.stored.medium.tier

    @property
    def emb(self) -> Tensor:
        """All rows: the table itself, or for ``int8``, which keeps none as they are, a copy."""
        return self.store.table

    @property
    def num_bytes(self) -> int:
        """Size of the table."""
        return self.stored.num_bytes

    @property
    def cache_size_in_bytes(self) -> int | None:
        """Room of the cache, if there is one."""
        return self.stored.size_in_bytes if isinstance(self.stored, CachedStore) else None

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of the rows read by id that the cache had; ``None`` without cache or read."""
        store = self.store
        if not isinstance(store, CachedStore) or not store.num_reads:
            return None
        return store.num_hits / store.num_reads

    def move_to(
        self,
        tier: str | None = None,
        folder: str | Path | None = None,
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        cache_size_in_bytes: int | str | None = None,
    ) -> 'History':
        """Bring the table to another medium or type; returns ``self``.

        Args:
            tier, folder: As in the constructor; ``None``: where it is. A table that is there
                already stays as it is, whatever the folder.
            dtype: As in the constructor; ``None`` or ``'auto'``: the type that it has.
            device: As in the constructor.
            cache_size_in_bytes: As in the constructor; it begins empty.

        Raises:
            ValueError, OSError: As in the constructor, and if a number does not fit ``dtype``. The
                table stays as it was then.
        """
        store = self.store.below if isinstance(self.store, CachedStore) else self.store
        chosen = parse_dtype('History', dtype)
        wanted = chosen or self.dtype
        encoding = store.encoding if wanted == self.dtype else encoding_of(wanted)
        medium = store.medium if tier is None else new_medium(tier, device, folder)
        if (medium.tier, medium.device) == (store.medium.tier, store.medium.device):
            medium = store.medium
        if encoding is not store.encoding or medium is not store.medium:
            store = store.converted(encoding, medium)
        self.store = _with_cache(store, cache_size_in_bytes, device)
        self.tier_is_chosen = self.tier_is_chosen or tier is not None
        self.dtype_is_chosen = self.dtype_is_chosen or chosen is not None
        return self

    def scratch(self) -> 'History':
        """An empty table of the same shape that keeps rows as they are, for an exact inference.

        It lies on the same disk, or in main memory, whatever the tier of this one.
        """
        shape, medium = (self.num_embeddings, self.embedding_dim), self.stored.medium
        if isinstance(medium, Disk):
            return History(*shape, tier='disk', folder=medium.folder)
        return History(*shape)

    def reset(self) -> None:
        """Set every row to zero and forget which graph the rows came from."""
        self.store.reset()
        self.graph = None

    reset_parameters = reset

    def belong_to(self, fingerprint: str | None) -> None:
        """Note which graph the rows come from.

        Raises:
            ValueError: If they came from another graph so far.
        """
        check_same_graph('History', self.graph, fingerprint)
        self.graph = self.graph or fingerprint

    # Rows ########################################################################

    @torch.no_grad()
    def pull(self, n_id: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Read rows.

        Args:
            n_id: ``(n,)`` node ids; all rows if ``None``.
            out: Optional ``(n, C)`` tensor to write to, in any type and on any device.

        Returns:
            A copy of the rows, ``(n, C)``, on the device of ``n_id``, in ``float32``, or in
            ``float64`` if they are kept in that; or ``out``.

        Raises:
            ValueError: If an id lies outside of the table or ``out`` has another shape.
        """
        if n_id is not None:
            self.check_ids('pull', n_id)
        shape = (self.num_embeddings if n_id is None else n_id.numel(), self.embedding_dim)
        if out is not None and out.shape != shape:
            raise ValueError(
                explain('History.pull', f"'out' must have shape {shape}", tuple(out.shape),
                        'Pass one full row per node id.')
            )  # fmt: skip
        return self.store.pull(n_id, out)

    @torch.no_grad()
    def push(
        self,
        x: Tensor,
        n_id: Tensor | None = None,
        offset: Tensor | None = None,
        count: Tensor | None = None,
    ) -> None:
        """Write rows.

        Args:
            x: ``(B, C)`` rows.
            n_id: ``(B,)`` node ids of the rows, each once; all nodes in order if ``None``.
            offset: ``(chunks,)`` first node id of each contiguous chunk of rows. With it, rows
                are copied chunk by chunk, and ``n_id`` is not read.
            count: ``(chunks,)`` length of each chunk.

        Raises:
            ValueError: If shapes do not fit, ids lie outside of the table or repeat, chunks
                overlap or do not add up to ``B``, or a number does not fit the type of the table.
                Nothing is written then.
        """
        where = self.where_of(x, n_id, offset, count)
        self.widen(x.dtype)
        self.store.push(x, where)

    def where_of(
        self,
        x: Tensor,
        n_id: Tensor | None,
        offset: Tensor | None,
        count: Tensor | None,
        on_host: bool = False,
    ) -> Tensor | list[tuple[int, int]] | None:
        """Which rows of the table a push writes: ids where the table is, chunks, or all.

        Args:
            x, n_id, offset, count: As in :meth:`push`.
            on_host: Look at ids, and give them, where they are, on the host.

        Raises:
            TypeError, ValueError: As in :meth:`push`.
        """
        self._check_rows(x)
        if (offset is None) != (count is None):
            raise ValueError(
                explain('History.push', "'offset' and 'count' belong together", 'one of them',
                        'Pass both, as the loader gives them, or neither.')
            )  # fmt: skip
        if offset is not None and count is not None:
            return self._check_chunks(x, offset, count)
        if n_id is None:
            self._check_count(x.size(0), self.num_embeddings, 'node of the table')
            return None
        self.check_ids('push', n_id)
        self._check_count(x.size(0), n_id.numel(), 'node id')
        index = n_id.to(n_id.device if on_host else self.device, torch.int64)
        sorted_ids = index.sort()[0]
        repeated = sorted_ids[1:][sorted_ids[1:] == sorted_ids[:-1]]
        if repeated.numel():
            raise ValueError(
                explain('History.push', "ids in 'n_id' must not repeat",
                        f'id {int(repeated[0])} more than once', 'Push one row per node.')
            )  # fmt: skip
        return index

    # Checks ######################################################################

    def widen(self, dtype: torch.dtype) -> None:
        """Let the table keep rows of ``dtype`` as they are, unless its type was chosen."""
        wider = torch.promote_types(self.dtype, dtype)
        if not self.dtype_is_chosen and wider != self.dtype:
            self.store = self.store.converted(encoding_of(wider), self.store.medium)

    def _check_rows(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(
                explain('History.push', "'x' must be a tensor", type(x).__name__,
                        'Pass one full row per node id.')
            )  # fmt: skip
        if x.dim() != 2 or x.size(1) != self.embedding_dim:
            rows = x.size(0) if x.dim() else 1
            raise ValueError(
                explain('History.push', f"'x' must have shape {(rows, self.embedding_dim)}",
                        tuple(x.shape), 'Pass one full row per node id.')
            )  # fmt: skip
        if not x.is_floating_point():
            raise TypeError(
                explain('History.push', "'x' must be of a floating-point type", x.dtype,
                        'Push embeddings, not ids or labels.')
            )  # fmt: skip

    def _check_count(self, rows: int, expected: int, what: str) -> None:
        if rows != expected:
            raise ValueError(
                explain('History.push',
                        f"'x' must have shape {(expected, self.embedding_dim)}, one row per {what}",
                        (rows, self.embedding_dim), 'Pass one full row per node id.')
            )  # fmt: skip

    def check_ids(self, call: str, n_id: Tensor) -> None:
        """Raise unless ``n_id`` holds ids of rows of the table."""
        who = f'History.{call}'
        if not isinstance(n_id, Tensor):
            raise TypeError(
                explain(who, "'n_id' must be a tensor", type(n_id).__name__, 'Pass batch.n_id.')
            )
        if n_id.dim() != 1 or n_id.is_floating_point() or n_id.dtype == torch.bool:
            raise ValueError(
                explain(who, "'n_id' must be a vector of integer ids",
                        f'shape {tuple(n_id.shape)} of {n_id.dtype}', 'Pass batch.n_id.')
            )  # fmt: skip
        if n_id.numel() and (int(n_id.min()) < 0 or int(n_id.max()) >= self.num_embeddings):
            raise ValueError(
                explain(who, f"ids in 'n_id' must lie in [0, {self.num_embeddings})",
                        f'{int(n_id.min())} to {int(n_id.max())}',
                        'Pass ids of the graph that the history was made for.')
            )  # fmt: skip

    def _check_chunks(self, x: Tensor, offset: Tensor, count: Tensor) -> list[tuple[int, int]]:
        for name, value in [('offset', offset), ('count', count)]:
            fine = isinstance(value, Tensor) and value.dim() == 1
            if not fine or value.is_floating_point() or value.dtype == torch.bool:
                raise TypeError(
                    explain('History.push', f"'{name}' must be a vector of integers",
                            f'shape {tuple(value.shape)} of {value.dtype}'
                            if isinstance(value, Tensor) else type(value).__name__,
                            'Pass offset and count as the loader gives them.')
                )  # fmt: skip
        chunks = list(zip(offset.tolist(), count.tolist(), strict=False))
        total = sum(length for _, length in chunks)
        if offset.shape != count.shape or total != x.size(0):
            raise ValueError(
                explain('History.push', f"'count' must add up to the {x.size(0)} rows of 'x'",
                        f'{total} in {count.numel()} chunks for {offset.numel()} offsets',
                        'Pass offset and count as the loader gives them.')
            )  # fmt: skip
        reach = 0
        for first, length in sorted(chunk for chunk in chunks if chunk[1] != 0):
            if first < reach or length < 0 or first + length > self.num_embeddings:
                raise ValueError(
                    explain('History.push', 'chunks must not overlap and must lie in '
                            f'[0, {self.num_embeddings})', f'chunk {first}:{first + length}',
                            'Pass offset and count as the loader gives them. If it joins a '
                            'partition twice, draw partitions without replacement: shuffle=True, '
                            'or a sampler that gives each at most once per batch.')
                )  # fmt: skip
            reach = first + length
        return chunks

    # State #######################################################################

    def get_extra_state(self) -> dict[str, Any]:
        return {**self.store.state(), 'graph': self.graph}

    def set_extra_state(self, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(state.get('emb'), Tensor):
            raise ValueError(
                explain('History.load_state_dict', "the state must hold a table 'emb'",
                        sorted(state) if isinstance(state, dict) else type(state).__name__,
                        'Load what state_dict gave.')
            )  # fmt: skip
        emb, store = state['emb'], self.store
        wider = emb.is_floating_point() and emb.dtype in DTYPES.values()
        if not self.dtype_is_chosen and wider and emb.dtype != self.dtype:
            store = store.empty(encoding_of(emb.dtype), store.medium)
        for name, (width, dtype) in store.encoding.fields(self.embedding_dim).items():
            field, shape = state.get(name), (self.num_embeddings, width)
            came = (
                f'{tuple(field.shape)} of {field.dtype}'
                if isinstance(field, Tensor) else type(field).__name__
            )  # fmt: skip
            if came != f'{shape} of {dtype}':
                what = 'the table' if name == 'emb' else f"its '{name}'"
                raise ValueError(
                    explain('History.load_state_dict',
                            f'{what} must have shape {shape} and type {dtype}', came,
                            'Load it into a model of the same graph, width and history type.')
                )  # fmt: skip
        store.load(state)
        self.store = store
        self.graph = state.get('graph')

    def extra_repr(self) -> str:
        place = f'device={self.device}' if self.tier == 'ram' else f'tier={self.tier}'
        if self.tier == 'device':
            place += f', device={self.stored.medium.device}'
        if self.cache_size_in_bytes is not None:
            place += f', cache_size_in_bytes={self.cache_size_in_bytes}'
        return f'{self.num_embeddings}, {self.embedding_dim}, dtype={self.dtype}, {place}'


def _with_cache(store: Store, size: int | str | None, device: torch.device | str | None) -> Store:
    if size is None:
        return store
    return CachedStore(store, parse_size('History', 'cache_size_in_bytes', size), device)
