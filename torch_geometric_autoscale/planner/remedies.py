"""What to do about a plan that does not fit."""

from .needs import INFERENCE_STEP, STEP
from .plan import Plan
from .text import size_text

REMEDIES = {
    'graph and features': "Make a graph folder of it ('pygas convert'): arrays stay on the disk.",
    'pictures': 'Give it more memory: pictures are drawn in the end.',
    'reordered graph': 'Keep the graph in a folder, whose arrays stay on the disk.',
    'reordering': 'Keep the graph in a folder, which is reordered block by block.',
    'index of the graph': 'Keep the graph in a folder, whose arrays stay on the disk.',
    'preparation': 'Keep the graph in a folder, whose arrays stay on the disk.',
    'graph of the converted model': 'Use a built-in model, which needs no copy of the graph.',
    'partitioner': 'Use a graph folder, or cut the graph elsewhere and pass it permuted.',
    'histories': 'Keep them on disk (tier=disk), or rounded (dtype=int8).',
    'cache of histories': 'Make the cache of the histories smaller.',
    'copy of the model': 'Do not measure the memory of a step.',
    'tables of an exact inference': 'Keep histories, and these tables with them, on disk '
    '(tier=disk), or use fewer layers or channels.',
    'batches kept for it': 'Use larger batches, which have fewer halo rows, or fewer layers.',
    INFERENCE_STEP: 'Use smaller batches: more parts, or fewer per batch.',
    'scores': 'Score fewer nodes: the outputs of a split are copied for that.',
    STEP: 'Use smaller batches (more parts, or fewer per batch), fewer layers or fewer channels.',
    'full-batch step': 'Leave out the comparison with full batch.',
    'model and optimizer': 'Use fewer channels or layers.',
    'best weights': 'Use fewer channels or layers.',
    'gradients': 'Use fewer channels or layers.',
    'first propagation': 'Do not keep it.',
    'work on the first propagation': 'Do not keep the first propagation.',
}


def describe_problem(plan: Plan) -> str:
    """Which quantity is too large, and what would make it fit."""
    phase = plan.needs.phases[plan.needs.peak_phase]
    own = {name: size for name, size in phase.items() if name != 'process'}
    name = max(own, key=lambda key: own[key])
    rest = ''
    if phase.get('process', 0) > own[name]:
        rest = f' (besides the {size_text(phase["process"])} of the process itself)'
    return (
        f"Largest in the phase '{plan.needs.peak_phase}': {name}, {size_text(own[name])}{rest}. "
        f'{REMEDIES[name]}'
    )
