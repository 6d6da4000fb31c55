"""Plans: which settings fit a memory, and what they cost."""

from .plan import Plan as Plan
from .planning import plan as plan
from .shape import GraphShape as GraphShape
