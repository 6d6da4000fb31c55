"""How far a conversion has come, in a file of the part folder: it goes on from there."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import explain
from ..files import write_json

NAME = 'state.json'
VERSION = 1
SAVE_EVERY = 10.0  # seconds

Identity = dict[str, Any]


class JobState:
    """Which steps of a conversion are done, what they found, and where the present one is.

    Args:
        part: The part folder.
        identity: What the conversion is made from, and how; ``None`` if nobody can tell.
        going_on: Whether to take up what the file says.
    """

    def __init__(self, part: Path, identity: Identity | None, going_on: bool) -> None:
        self._path = part / NAME
        self._saved_at = time.monotonic()
        self._content: dict[str, Any] = {
            'version': VERSION, 'identity': identity, 'done': {}, 'step': None, 'position': None,
        }  # fmt: skip
        if going_on:
            known = read_state(part)
            assert known is not None
            self._content = known
        else:
            self.save()

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on from."""
        return bool(self._content['done']) or self._content['step'] is not None

    def is_done(self, step: str) -> bool:
        return step in self._content['done']

    def facts(self, step: str) -> Any:
        """What a step that is done has found."""
        return self._content['done'][step]

    def position(self, step: str) -> Any:
        """Where a step was; ``None``: at its beginning."""
        return self._content['position'] if self._content['step'] == step else None

    def reached(self, step: str, position: Any) -> None:
        """Note where a step is."""
        self._content['step'], self._content['position'] = step, position

    def finish(self, step: str, facts: Any) -> None:
        """Note that a step is done."""
        self._content['done'][step] = facts
        self._content['step'] = self._content['position'] = None

    def is_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= SAVE_EVERY

    def save(self) -> None:
        write_json(self._path, self._content)
        self._saved_at = time.monotonic()


def read_state(part: Path) -> dict[str, Any] | None:
    """What the state in a part folder says; ``None`` where there is none of this version."""
    try:
        content = json.loads((part / NAME).read_text('utf-8'))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(content, dict) and content.get('version') == VERSION
    return content if is_ours else None


def can_go_on(part: Path, identity: Identity | None, who: str) -> bool:
    """Whether a part folder holds the beginning of this very conversion.

    Raises:
        ValueError: It holds that of another one.
    """
    state = read_state(part)
    known = None if state is None else state['identity']
    if known is None or identity is None:
        return False
    remedy = f"Pass restart=true to begin anew, or remove '{part}'."
    for kind, rule in (
        ('files', 'a source must not change while it is converted'),
        ('options', 'a conversion must go on with the options it was begun with'),
    ):
        difference = _difference(known[kind], identity[kind])
        if difference:
            raise ValueError(explain(who, rule, difference, remedy))
    return True


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first thing that two mappings do not agree in."""
    for key in [*old, *new]:
        then, now = old.get(key), new.get(key)
        if then != now:
            return f'{key}: {_text(then)}, now {_text(now)}'
    return None


def _text(value: Any) -> str:
    return 'none' if value is None else str(value)


def file_identity(path: Path) -> str:
    """What tells a file from what it was before."""
    stat = path.stat()
    return f'{stat.st_size:,} bytes of {stat.st_mtime_ns} ns'
