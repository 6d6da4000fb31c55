"""The command line: ``pygas train | evaluate | predict | info``."""

from .main import main as main
