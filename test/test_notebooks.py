"""The notebook is committed as it was executed, and runs to its end."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / 'examples' / 'from_pyg_tutorial.ipynb'
CELLS = json.loads(NOTEBOOK.read_text('utf-8'))['cells']
CODE = [cell for cell in CELLS if cell['cell_type'] == 'code']


def test_the_notebook_is_committed_with_its_outputs():
    assert [cell['execution_count'] for cell in CODE] == list(range(1, len(CODE) + 1))
    pictures = [o for c in CODE for o in c['outputs'] if 'image/png' in o.get('data', {})]
    assert len(pictures) == 3
    kinds = {output['output_type'] for cell in CODE for output in cell['outputs']}
    assert kinds <= {'stream', 'display_data', 'execute_result'}
    assert not [o for c in CODE for o in c['outputs'] if o.get('name') == 'stderr']


def test_the_notebook_tells_nothing_of_where_it_was_executed():
    text = NOTEBOOK.read_text('utf-8')
    assert '/home/' not in text
    assert '/root/' not in text
    assert '/tmp/' not in text


def test_what_the_notebook_says_of_its_model_holds():
    """It ends with exact outputs, and both conversions come out near each other."""
    said = {
        output['text'] if isinstance(output['text'], str) else ''.join(output['text'])
        for cell in CODE for output in cell['outputs'] if output['output_type'] == 'stream'
    }  # fmt: skip
    (line,) = [text for text in said if text.startswith('largest difference')]
    assert float(line.split()[2]) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # of Jupyter's own
def test_the_notebook_runs_to_its_end(tmp_path):
    pytest.importorskip('ipykernel', reason="needs the extra 'notebooks'")
    nbclient = pytest.importorskip('nbclient', reason="needs the extra 'notebooks'")
    nbformat = pytest.importorskip('nbformat', reason="needs the extra 'notebooks'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('EPOCHS, HIDDEN = 10, 128', 'EPOCHS, HIDDEN = 1, 16')
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name='python3')
    client.execute(cwd=str(tmp_path))  # an error in a cell is raised
    assert list(tmp_path.iterdir()) == []
