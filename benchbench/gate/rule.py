"""What is a change, and how sure must one be? The numbers that every verdict depends on."""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p

SLOWER, FASTER, SAME, UNDECIDED, INVALID = "slower", "faster", "same", "undecided", "invalid"
VERDICTS = (SLOWER, FASTER, SAME, UNDECIDED, INVALID)


@dataclass(frozen=True, slots=True)
class Rule:
    """The thresholds of a decision. Shares are of the time: .01 is one percent.

    margin:         a change up to this is of no interest: slower and faster are proven beyond it.
    same_within:    what "same" proves: the interval of the ratio lies inside 1 +- this. Twice the margin, because at a
                    spread of 1 % 8 rounds prove 2 % for 95 % of unchanged points, and 28 would prove 1 %.
    screen_alpha:   one-sided level at which a point of the first stage is measured again. It only selects.
    confirm_alpha:  level of the second stage on fresh rounds, Holm over the points measured again.
    family_alpha:   level on all rounds together, Holm over all points of the run.
    level:          of the interval of the ratio.
    sitting_offset: standard deviation by which a point moves between two sittings, code unchanged: stored runs only.
    control_margin: a control that moves by more than this beyond its interval makes the run invalid.
    invalid_alpha:  share of runs that may be called invalid although no control moved.
    power:          with which the smallest change that could have been seen is seen.
    """

    margin: float = 0.01
    same_within: float = 0.02
    screen_alpha: float = 0.1
    confirm_alpha: float = 0.01
    family_alpha: float = 0.02
    level: float = 0.9
    sitting_offset: float = 0.003
    control_margin: float = 0.01
    invalid_alpha: float = 0.01
    power: float = 0.9

    def __post_init__(self) -> None:
        if self.margin < 0 or self.same_within < self.margin or self.sitting_offset < 0 or self.control_margin < 0:
            raise ValueError("expected margins and offsets of at least 0, and same_within of at least the margin")
        levels = self.screen_alpha, self.confirm_alpha, self.family_alpha, self.invalid_alpha, self.level, self.power
        if not all(0 < level < 1 for level in levels):
            raise ValueError("expected levels and power between 0 and 1")

    @property
    def log_margin(self) -> float:
        """The margin as a difference of logarithms, the same for slower and for faster."""
        return log1p(self.margin)
