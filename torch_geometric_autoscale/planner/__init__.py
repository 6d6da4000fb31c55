"""Plans: which settings fit a memory, and what they cost."""

from .graphs import GraphShape as GraphShape
from .plan import Plan as Plan
from .planning import plan as plan
