"""Networks by name: timm's, with our mixers put in where a point asks for them, and those that no library has."""

from benchbench.models.build import build

__all__ = ["build"]
