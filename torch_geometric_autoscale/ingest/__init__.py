"""Graphs from other formats to graph folders: ``convert``."""

from .convert import convert

__all__ = ['convert']
