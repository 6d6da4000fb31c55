"""Train a model with histories or full batch, measure it, keep its checkpoint and record."""

from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import load_checkpoint as load_checkpoint
from .checkpoint import save_checkpoint as save_checkpoint
from .checkpoint_folder import CheckpointFolder as CheckpointFolder
from .checkpoint_folder import CheckpointWarning as CheckpointWarning
from .loop import train as train
from .record import build_record as build_record
from .record import write_record as write_record
from .results import Epoch as Epoch
from .results import Run as Run
from .settings import TrainSettings as TrainSettings
from .step_memory import step_peak_bytes as step_peak_bytes
