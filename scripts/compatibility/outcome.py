"""One case: exact, refused, not runnable here - or wrong."""

import copy
import traceback
import warnings
from dataclasses import dataclass, field

import torch
from torch.nn import Module
from torch_geometric.data import Data, HeteroData

from .building import build, data_of, full_batch
from .cases import Case
from .graphs import PARTS, partition
from .oracle import ERRORS, Measures, Sweeper
from .rows import WrongRows, error, rows_of

EXACT = 'exact'
REFUSED = 'refused'
UNAVAILABLE = 'not runnable here'
WRONG = 'WRONG'
CRASHED = 'CRASHED'  # an error that is no explanation

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        status: One of the words above.
        reason: Why it was refused, cannot run here, or failed.
        measures: See :mod:`oracle`.
        trace: Where an error came from.
    """

    case: Case
    status: str
    reason: str = ''
    measures: Measures = field(default_factory=dict)
    trace: str = ''

    @property
    def worst(self) -> float:
        """The largest error."""
        return max((self.measures[name] for name in ERRORS if name in self.measures), default=0.0)

    @property
    def failed(self) -> bool:
        return self.status in (WRONG, CRASHED)


def run(case: Case) -> Outcome:
    """Hold one case against the oracle."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            twin, data = build(case), data_of(case)
            module = copy.deepcopy(twin)
            with torch.no_grad():
                expected = rows_of(full_batch(twin, case, data))
                if error(rows_of(full_batch(twin, case, data)), expected) != 0:
                    return Outcome(case, UNAVAILABLE, 'full batch gives other numbers every time')
        except Exception as problem:
            return Outcome(case, UNAVAILABLE, _short(problem), trace=traceback.format_exc())
        try:
            return _held_against_oracle(case, module, twin, data)
        except WrongRows as problem:
            return Outcome(case, WRONG, str(problem))
        except (ValueError, TypeError, NotImplementedError) as problem:
            status = REFUSED if _explains(problem) else CRASHED
            return Outcome(case, status, _short(problem), trace=traceback.format_exc())
        except Exception as problem:
            return Outcome(case, CRASHED, _short(problem), trace=traceback.format_exc())


def _held_against_oracle(
    case: Case, module: Module, twin: Module, data: Data | HeteroData
) -> Outcome:
    from torch_geometric_autoscale import autoscale

    hetero = isinstance(data, HeteroData)
    gas = autoscale(
        module,
        copy.copy(data),
        num_parts=PARTS,
        partition='auto' if hetero else partition(),
        inputs=case.recipe.inputs,
    )
    measures = Sweeper(gas, module, twin, case, data).measure()
    tolerance = TOLERANCE[case.recipe.dtype]
    wrong = [name for name in ERRORS if measures.get(name, 0.0) > tolerance]
    status = WRONG if wrong else EXACT
    reason = ', '.join(f'{name}: {measures[name]:.1e}' for name in wrong)
    return Outcome(case, status, reason, measures)


def _explains(problem: Exception) -> bool:
    """Whether an error was raised by this library, and not by what it called."""
    last = traceback.extract_tb(problem.__traceback__)[-1]
    return 'torch_geometric_autoscale' in last.filename


def _short(problem: Exception) -> str:
    text = ' '.join(str(problem).split())
    return f'{type(problem).__name__}: {text}' if text else type(problem).__name__
