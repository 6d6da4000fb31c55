"""Costs, needs and plans made by hand, with round numbers."""

import torch

from torch_geometric_autoscale.planner.choice import Choice
from torch_geometric_autoscale.planner.costs import KeptOfGraph, ModelCosts
from torch_geometric_autoscale.planner.facts import GraphFacts
from torch_geometric_autoscale.planner.fit import Counts, LargestCost, LinearCost
from torch_geometric_autoscale.planner.needs import Needs
from torch_geometric_autoscale.planner.plan import Plan
from torch_geometric_autoscale.planner.tables import InferenceTables
from torch_geometric_autoscale.planner.terms import Terms

CPU = torch.device('cpu')


def costs(**changes: object) -> ModelCosts:
    """Two histories of 8 and 4 channels; a step takes 100 bytes a row and 10 an edge."""
    step = LinearCost(fixed=1000, per_row=100, per_edge=10)
    usual = {
        'parameters': 400, 'trained': 300, 'optimizer': 600, 'widths': (8, 4),
        'exact_dtype': 'float32', 'step_peak': step, 'loop_peak': LargestCost((step,)),
        'step_seconds': LinearCost(fixed=0.5, per_row=0.01),
        'inference_peak': LinearCost(per_row=7), 'inference_kept': LinearCost(per_edge=3),
        'inference_seconds': LinearCost(per_row=0.001),
        'tables': InferenceTables((40, 20), (60, 30), output=16),
        'kept': KeptOfGraph(per_edge=4, product_per_node=12), 'trials': (),
    }  # fmt: skip
    return ModelCosts(**{**usual, **changes})


def facts(**changes: object) -> GraphFacts:
    """A hundred nodes and a thousand edges."""
    usual = {'num_nodes': 100, 'num_edges': 1000, 'structure_bytes': 9000, 'feature_bytes': 6000}
    return GraphFacts(**{**usual, **changes})


def terms(memory: int = 10**9, **changes: object) -> Terms:
    """On the CPU, with METIS."""
    return Terms(**{'memory': memory, 'device': CPU, 'method': 'metis', **changes})


def made_plan(memory: int = 2_000_000, **changes: object) -> Plan:
    """Needs 1,000,000 bytes and a reserve of 100,000 in training, less before."""
    phases = {
        'start': {'process': 100_000, 'graph and features': 200_000},
        'training': {'process': 100_000, 'histories': 700_000, 'largest step': 200_000},
    }
    usual = {
        'choice': Choice(64, 8), 'memory': memory, 'device': 'the process',
        'needs': Needs(150_000, Counts(120, 30, 900), phases), 'reserve': 100_000,
        'floor': 880_000, 'mean_batch': Counts(100, 20, 800), 'pulled_rows': 1600,
        'pushed_rows': 6400, 'pulled_bytes': 51_200, 'pushed_bytes': 204_800,
        'table_bytes': 700_000, 'exact_dtype': 'float32', 'seconds_per_epoch': 1.25,
        'seconds_per_evaluation': 0.5,
    }  # fmt: skip
    return Plan(**{**usual, **changes})
