"""The paper's experiments: suites of model and data set pairs, their runs, records and tables."""

from .main import main as main
