"""What is measured when nothing else is asked: importing this package registers the shipped cases. No torch needed."""

from benchbench.sweeps import breakdown, controls, networks, operators, paper, roofs

__all__ = ["breakdown", "controls", "networks", "operators", "paper", "roofs"]
