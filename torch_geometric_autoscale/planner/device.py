"""What a training needs of the memory of a device."""

import torch

from .choice import Choice
from .costs import ModelCosts
from .facts import GraphFacts
from .fit import Counts
from .halos import BatchSizes
from .needs import INFERENCE_STEP, KEEP_BATCHES_UP_TO, STEP, Needs, row_bytes


def device_in_use(device: torch.device) -> int:
    """Bytes of a device that are taken, by whomever, less what PyTorch keeps without using it."""
    free, total = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(total - free - idle, 0)


def device_memory(device: torch.device) -> int:
    """Bytes that a device has."""
    return int(torch.cuda.mem_get_info(device)[1])


def device_needs(
    facts: GraphFacts, costs: ModelCosts, choice: Choice, sizes: BatchSizes, used: int
) -> Needs:
    """What a training on a device needs of its memory.

    Args:
        facts: The graph, which stays in main memory.
        costs: The model, tried on the device.
        choice: The settings.
        sizes: The batches of an epoch.
        used: Bytes that are taken already.
    """
    nodes, edges = facts.num_nodes, facts.num_edges
    largest = sizes.largest(costs.loop_peak)
    needs = Needs(round(costs.step_peak(sizes.largest(costs.step_peak))), largest)
    resident = {'process': used, 'model and optimizer': costs.parameters + costs.optimizer}
    if choice.history_tier == 'device':
        resident['histories'] = nodes * row_bytes(costs.widths, choice.history_dtype)
    if choice.history_cache:
        resident['cache of histories'] = choice.history_cache
    step = round(costs.loop_peak(largest))
    if choice.measure_memory:
        copies = costs.parameters + costs.optimizer + resident.get('histories', 0)
        needs.phases['measuring a step'] = {
            **resident, 'copy of the model': copies, STEP: step,
        }  # fmt: skip
    resident['best weights'] = 2 * costs.parameters
    kept = costs.inference_kept
    every, most = sizes.per_epoch, sizes.largest(costs.inference_peak)
    held = 2 * kept(most)
    if edges <= KEEP_BATCHES_UP_TO:
        held = kept(every) + (sizes.num_batches - 1) * kept.fixed
    needs.phases['evaluation'] = {
        **resident, 'gradients': costs.trained, 'batches kept for it': round(held),
        INFERENCE_STEP: round(costs.inference_peak(most)),
    }  # fmt: skip
    needs.phases['training'] = {**resident, STEP: step}
    if choice.full_batch:
        whole = costs.loop_peak(Counts(nodes, 0, edges))
        needs.phases['full batch'] = {**resident, 'full-batch step': round(whole)}
    return needs
