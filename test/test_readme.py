"""The README's code runs as written."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text('utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)


def test_readme_has_code_to_run():
    assert len(BLOCKS) == 5


def test_code_blocks_run_one_after_the_other(capsys: pytest.CaptureFixture[str]):
    names: dict[str, Any] = {}
    shapes = []
    for block in BLOCKS:
        exec(compile(block, 'README.md', 'exec'), names)
        shapes.append(tuple(names['logits'].shape) if 'logits' in names else None)
    assert shapes[:2] == [None, (117_659, 45)]
    accuracy = float(re.findall(r'validation accuracy (\S+)', capsys.readouterr().out)[-1])
    assert accuracy > 0.5  # six epochs, 45 classes
    assert names['in_your_order'].isfinite().all()


def test_tables_are_what_the_records_give():
    check = [sys.executable, 'scripts/render_results.py', '--check']
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '')


NAMED = sorted(set(re.findall(r'`([\w/]+\.(?:py|md|cff))`', README)))


@pytest.mark.parametrize('path', NAMED)
def test_files_that_the_readme_names_exist(path: str):
    assert (ROOT / path).exists() or (ROOT / 'torch_geometric_autoscale' / path).exists()
