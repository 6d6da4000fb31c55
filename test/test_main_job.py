"""The main job, as the README promises it."""

import json
from pathlib import Path

import pytest

from torch_geometric_autoscale.cli import main


@pytest.mark.slow
def test_the_default_job_reaches_79_percent_on_wordnet(tmp_path: Path) -> None:
    assert main(['train', f'out={tmp_path / "run"}', 'full=false']) == 0
    record = json.loads((tmp_path / 'run' / 'record.json').read_text())
    assert record['runs'][0]['test'] >= 79
