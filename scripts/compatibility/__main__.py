"""Run the sweep and write ``docs/compatibility.md``.

python -m scripts.compatibility                    # everything, a few minutes
python -m scripts.compatibility --check            # fail if the page would say something else
python -m scripts.compatibility GCNConv ChebConv   # some names; prints, writes nothing
"""

import argparse
import re
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from .cases import all_cases
from .outcome import EXACT, Outcome, run
from .report import counts, page

PAGE = Path(__file__).parent.parent.parent / 'docs' / 'compatibility.md'


def sweep(names: list[str], verbose: bool = False) -> list[Outcome]:
    """Run all cases, or those of some names, and say what fails."""
    cases = [case for case in all_cases() if not names or case.name in names]
    outcomes = []
    for case in tqdm(cases, disable=None, desc='cases'):
        outcome = run(case)
        outcomes.append(outcome)
        if outcome.failed or names:
            said = outcome.reason or f'{outcome.worst:.1e} (stale: {stale(outcome)})'
            tqdm.write(f'{outcome.status}: {case}: {said}')
            if verbose and outcome.trace:
                tqdm.write(outcome.trace)
    return outcomes


def stale(outcome: Outcome) -> str:
    return f'{outcome.measures["stale"]:.1e}' if outcome.status == EXACT else 'unknown'


def without_errors(text: str) -> str:
    """The page without versions and the size of rounding errors, which differ by machine."""
    text = re.sub(r'torch [\d.]+, PyG [\d.]+', 'versions', text)
    return re.sub(r'\b\d(\.\d)?e[+-]\d\d\b|(?<=\| )0(?= \||<br>)', 'eps', text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', help='operators or models (default: all)')
    parser.add_argument('--check', action='store_true', help='compare with the page, do not write')
    parser.add_argument('--verbose', action='store_true', help='print where errors come from')
    args = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = sweep(args.names, args.verbose)
    print(', '.join(f'{count} {status}' for status, count in counts(outcomes).items()))
    failed = any(outcome.failed for outcome in outcomes)
    if args.names:
        return int(failed)
    text = page(outcomes)
    if args.check:
        if without_errors(text) != without_errors(PAGE.read_text('utf-8')):
            print(f'{PAGE.name} is not what the sweep gives: run python -m scripts.compatibility')
            return 1
        return int(failed)
    PAGE.write_text(text, 'utf-8')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
