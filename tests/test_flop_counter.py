"""Why the suite counts its own flops: torch's counter is wrong for the backward pass of depthwise convolutions."""

from __future__ import annotations

import pytest

from benchbench import work

torch = pytest.importorskip("torch")

# The versions that this was looked at with. On another one look again, and add it or drop this file.
LOOKED_AT = ("2.11", "2.15")


@pytest.mark.skipif(
    ".".join(torch.__version__.split(".")[:2]) not in LOOKED_AT,
    reason=f"torch.utils.flop_counter was looked at in torch {' and '.join(LOOKED_AT)}, this is {torch.__version__}",
)
@pytest.mark.parametrize("channels", [12, 96])
def test_torchs_counter_takes_the_weight_gradient_of_a_depthwise_convolution_for_a_dense_one(channels: int) -> None:
    """It ignores the groups there, so that forward and backward together come out (C + 1) / 2 times too high.

    At 96 channels that is 48.5 for the backward pass: (1 + 96) / 2. A 1x1 image pads nothing away: 1 x 1 kernel.
    """
    from torch.utils.flop_counter import FlopCounterMode

    layer = torch.nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
    x = torch.randn(2, channels, 4, 4, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = layer(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    sizes = {"batch": 2, "channels": channels, "height": 4, "width": 4, "kernel_height": 1, "kernel_width": 1}
    counted = {m: work.depthwise(itemsize=4, mode=m, bias=False, **sizes).flops for m in ("forward", "backward")}  # type: ignore[arg-type]
    assert forward.get_total_flops() == counted["forward"]
    assert backward.get_total_flops() / counted["backward"] == (channels + 1) / 2
