"""Augments, perturbs and explains transcriptomes when patients are few, and says when not to."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("synthome")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0+unknown"
