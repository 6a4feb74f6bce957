"""Which shipped kernels spill all the same, and how many bytes at most? The gate names them each time it is run.

They are facts of Triton 3.9, to be mended and struck; a row that is not listed may not spill at all.
"""

from __future__ import annotations

SPILLS = {
    "resources depthwise_conv backward bf16 nchw 768x7x7 sm_90": 16,
}
