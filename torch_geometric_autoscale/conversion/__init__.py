"""``autoscale``: conversion of unmodified modules."""

from .autoscaled import AutoScaled as AutoScaled
from .autoscaled import autoscale as autoscale
from .verification import VerificationError as VerificationError
