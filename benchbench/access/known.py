"""Which shipped kernels spill all the same, and how many bytes at most? The gate names them each time it is run.

They are facts of Triton 3.9, to be mended and struck; a row that is not listed may not spill at all. None is of
sm_90 but one: the k x k backward at 7 x 7 in bf16.
"""

from __future__ import annotations

SPILLS = {
    "resources depthwise_conv backward bf16 nchw 768x7x7 sm_90": 16,
    "resources depthwise_conv backward bf16 nchw 96x56x56 sm_100": 64,
    "resources depthwise_conv backward bf16 nhwc 96x56x56 sm_100": 152,
    "resources depthwise_conv backward bf16 nhwc 96x56x56 sm_120": 16,
    "resources depthwise_conv backward fp16 nchw 96x56x56 sm_100": 48,
    "resources depthwise_conv backward fp16 nhwc 96x56x56 sm_100": 184,
    "resources depthwise_conv backward fp32 nhwc 96x56x56 sm_100": 32,
    "resources inception_dwconv backward bf16 nhwc 384x14x14 sm_100": 8,
    "resources inception_dwconv backward bf16 nhwc 96x56x56 sm_100": 48,
    "resources inception_dwconv backward fp16 nhwc 384x14x14 sm_100": 8,
}
