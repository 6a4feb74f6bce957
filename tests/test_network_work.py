"""Whole networks, counted layer by layer, against the paper."""

import pytest

from benchbench.network_work import network


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("inception_next_atto", 0.5),
        ("inception_next_tiny", 4.2),
        ("inception_next_small", 8.4),
        ("inception_next_base", 14.9),
        ("convnext_tiny", 4.5),
        ("convnext_small", 8.7),
        ("convnext_base", 15.4),
    ],
)
def test_a_networks_multiply_adds_are_the_papers(name: str, published: float) -> None:
    """Table 4 of arXiv 2303.16900 (G MACs, one decimal); norms and activations are below its precision."""
    assert round(network(name=name, batch=1).flops / 2e9, 1) == published


def test_a_networks_smaller_mixer_does_less_and_batch_scales_it() -> None:
    whole = network(name="convnext_tiny", batch=2)
    small = network(name="convnext_tiny", batch=2, kernel_size=3, ratio="1/8")
    assert small.flops < whole.flops
    assert network(name="convnext_tiny", batch=4).flops == 2 * whole.flops
    assert network(name="convnext_tiny", batch=2, mode="forward_backward") == whole + network(
        name="convnext_tiny", batch=2, mode="backward"
    )


def test_an_unknown_network_gets_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="did you mean convnext_tiny"):
        network(name="convnext_tny", batch=1)
