"""Write the tables of the README and of pages from the records in ``benchmarks/results``.

python scripts/render_results.py            # rewrite
python scripts/render_results.py --check    # fail if a page is not what the records give
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import extrapolate

from torch_geometric_autoscale.benchmark.bars import render_bars
from torch_geometric_autoscale.benchmark.collect import collect
from torch_geometric_autoscale.benchmark.report import specs_of
from torch_geometric_autoscale.benchmark.suite import load_suite
from torch_geometric_autoscale.benchmark.tables import render_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / 'benchmarks' / 'results'
NAMES = {'gas': 'histories', 'full': 'full batch'}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; the first column to the left."""
    lines = [header, ['---'] + ['---:'] * (len(header) - 1), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def source(name: str, record: dict[str, Any]) -> str:
    """One line on where a table comes from."""
    machine, versions = record['machine'], record['versions']
    return (
        f'<sub>[record](benchmarks/results/{name}): {machine["cores"]} cores '
        f'({machine["cpu"]}), torch {versions["torch"]}, PyG {versions["torch_geometric"]}</sub>'
    )


def training(name: str, title: str, seconds: bool = True) -> str:
    """The table of one job of ``pygas train``, with its seconds where nothing else was running."""
    record = json.loads((RESULTS / name).read_text('utf-8'))
    runs = record['runs']
    rows = [
        ['test accuracy at the best validation epoch', *(f'{r["test"]:.2f}%' for r in runs)],
        ['epochs', *(str(len(r['epochs'])) for r in runs)],
        ['seconds of training', *(f'{r["epochs"][-1]["elapsed"]:.0f}' for r in runs)],
        ['seconds per epoch (median)', *(f'{r["seconds_per_epoch"]:.2f}' for r in runs)],
        ['peak memory of a training step', *(f'{r["step_peak_bytes"] / 2**20:.0f} MiB'
                                             for r in runs)],
    ]  # fmt: skip
    if not seconds:
        rows = [row for row in rows if 'seconds' not in row[0]]
    quality = record['partition']
    cut = (
        f'{100 * quality["edge_cut"]:.1f}% of the edges cut, '
        f'{quality["halo_per_batch_node"]:.2f} halo rows per batch node.'
    )
    table = markdown(['', *(NAMES[r['mode']] for r in runs)], rows)
    return f'{title} {cut}\n\n{table}\n\n{source(name, record)}'


def benchmark(name: str, title: str, only: str | None = None) -> str:
    """The tables of one script in ``benchmarks``, or one; says so where it has not been run."""
    if not (RESULTS / name).exists():
        return f'{title} Not run yet.'
    record = json.loads((RESULTS / name).read_text('utf-8'))
    parts = [title]
    for key, table in record['tables'].items():
        if only in (None, key):
            parts += [f'{table["title"]}:', markdown(table['header'], table['rows'])]
    return '\n\n'.join([*parts, source(name, record)])


def on_page(name: str, table: str) -> Callable[[], str]:
    """One table of a script, as pages in ``docs`` show it."""
    title = f'`python benchmarks/{Path(name).stem}.py`:'
    return lambda: benchmark(name, title, table).replace('](benchmarks/', '](../benchmarks/')


def suite_table(name: str, title: str) -> str:
    """A table of a suite's results page, as the README shows it."""
    suite = load_suite(ROOT / f'{name}_benchmark')
    (spec,) = (spec for spec in specs_of(suite) if spec['title'] == title)
    found = collect(suite.folder / 'results' / 'records')
    render = render_bars if 'bars' in spec else render_table
    return render({**spec, 'text': ''}, found, ROOT / 'README.md').partition('\n\n')[2]


def papers100m(table: str) -> Callable[[], str]:
    """One table of what ogbn-papers100M would take; says so where a record is missing."""

    def render() -> str:
        files = [RESULTS / name for name in ('scale.json', 'scale_papers100m.json')]
        if not all(file.exists() for file in files):
            return 'Not run yet.'
        records = [json.loads(file.read_text('utf-8')) for file in files]
        if not extrapolate.can_be_worked_out(*records):
            return 'Not run yet.'
        return markdown(*getattr(extrapolate, f'{table}_table')(*records))

    return render


README = {
    'results': lambda: '\n\n'.join([
        training('wordnet.json', 'What `make demo` prints, WordNet (117,659 synsets, 45 classes), '
                 'each with its own tuned settings and the same number of seconds:'),
        '![accuracy over epochs and seconds](benchmarks/results/wordnet.png)',
        training('wordnet_long.json', 'Longer, `pygas train epochs=200 full.epochs=300 '
                 'full.max_seconds=null`:', seconds=False),
    ]),
    'suites': lambda: '\n\n'.join([
        'Cora, Coauthor-CS and Amazon-Photo with the settings of the paper\'s scripts (they have '
        'none for GAT on Amazon-Photo: those are our own), against published figures of GAS and '
        'against full batch; in parentheses the number of seeds:',
        suite_table('small', 'The bars'),
        'WordNet and Linux\'s calls with settings of our own, those of Linux\'s calls and of full '
        'batch of GCNII not tuned, against full batch and PyG\'s `RandomNodeLoader`, test '
        'accuracy:',
        suite_table('large', 'Against what PyG offers without compiled extras'),
        'Seconds to 99% of full batch\'s validation score. On Linux\'s calls that of SAGE in full '
        'batch was run with another setting of memory than that of GCN, up to twice as slow:',
        suite_table('large', 'Seconds to 99% of full batch'),
    ]),
    'benchmarks': lambda: '\n\n'.join([
        '## Speed and memory',
        'Every table is printed by a script and was measured side by side in one run.',
        benchmark('epoch.json', '`python benchmarks/epoch.py`: histories against full batch, on a '
                  'generated graph like ogbn-arxiv.'),
        benchmark('memory.json', '`python benchmarks/memory.py`: a step does not grow with the '
                  'graph.'),
        benchmark('partitioning.json', '`python benchmarks/partitioning.py`: the partitioners.'),
        benchmark('inference.json', '`python benchmarks/inference.py --root data`: exact '
                  'inference of 64 layers from one `forward`.'),
        benchmark('few_labels.json', '`python benchmarks/few_labels.py`: few labels.'),
        benchmark('checkpoint.json', '`python benchmarks/checkpoint.py`: what checkpoints cost.'),
        benchmark('autoscale.json', '`python benchmarks/autoscale.py`: PyG\'s own models, '
                  'converted by `autoscale`.'),
    ]),
}  # fmt: skip

PAGES = {
    'README.md': README,
    'docs/from_neighbor_loader.md': {
        'loaders': on_page('neighbor_loader.json', 'loaders'),
        'cases': on_page('neighbor_loader.json', 'cases'),
    },
    'docs/heterogeneous.md': {
        'dblp': on_page('heterogeneous.json', 'dblp'),
        'wordnet': on_page('heterogeneous.json', 'wordnet'),
    },
    'docs/storage.md': {
        name: on_page('history_dtype.json', name) for name in ('accuracy', 'caches', 'rates')
    },
    'docs/plan.md': {name: on_page('plan.json', name) for name in ('steps', 'jobs')},
    'docs/scale.md': {
        **{name: on_page('scale.json', name)
           for name in ('per_node', 'cpu', 'seconds', 'limited', 'profile')},
        'partitioners': on_page('partitioners_at_scale.json', 'partitioners'),
        **{f'papers100m-{name}': papers100m(name) for name in ('hours', 'sizes', 'machines')},
    },
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true')
    args = parser.parse_args()
    stale = False
    for page, sections in PAGES.items():
        path = ROOT / page
        text = old = path.read_text('utf-8')
        for name, render in sections.items():
            start, end = f'<!-- {name}:start -->', f'<!-- {name}:end -->'
            before, _, rest = text.partition(start)
            _, _, after = rest.partition(end)
            text = f'{before}{start}\n{render()}\n{end}{after}'
        if args.check and text != old:
            print(f'{page} is not what the records give: run scripts/render_results.py')
            stale = True
        elif not args.check:
            path.write_text(text, 'utf-8')
    return int(stale)


if __name__ == '__main__':
    sys.exit(main())
