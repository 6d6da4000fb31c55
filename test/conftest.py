"""For every test."""

import torch

# The graphs fit a hand: a second thread only waits, and much longer on a busy machine.
torch.set_num_threads(1)
