"""Traced bytes against counts by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs a process with TRITON_INTERPRET=1"),
]

torch = pytest.importorskip("torch")
planted = pytest.importorskip("planted")

from benchbench.access import cache  # noqa: E402
from benchbench.access.traced import trace  # noqa: E402
from benchbench.access.traffic import Traffic, heat_map  # noqa: E402


def line_of(text: str) -> int:
    """The first line of planted.py that holds the text."""
    with open(planted.__file__) as file:
        return next(number for number, row in enumerate(file, 1) if text in row)


def test_a_copy_asks_for_each_byte_once() -> None:
    x, y = torch.randn(1000), torch.empty(1000)
    found = trace(lambda: planted.copy_kernel[(4,)](x, y, 1000, BLOCK=256))
    assert torch.equal(x, y)
    assert found.amplification() == 1.0
    assert found.requested_bytes("load") == found.requested_bytes("store") == 4000
    # 1000 floats from an aligned start lie in 125 sectors; 4 programs share none of them.
    assert found.program_sector_bytes("load") == 125 * 32
    assert found.launches == (("copy_kernel", 4),)


def test_a_copys_requests_are_128_floats_in_16_sectors() -> None:
    x, y = torch.randn(1024), torch.empty(1024)
    load = trace(lambda: planted.aligned_copy[(1,)](x, y, BLOCK=1024)).sites[0]
    assert (load.kind, load.narrowest_vector_bytes) == ("load", 16)
    assert (load.requests, load.sectors) == (8, 128)


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 9])
def test_a_strided_read_touches_the_sectors_counted_by_hand(stride: int) -> None:
    x, y = torch.randn(256 * stride), torch.empty(256)
    load = trace(lambda: planted.strided_read[(1,)](x, y, STRIDE=stride, BLOCK=256)).sites[0]
    threads = 128 if stride == 1 else 32
    requests = [range(first, first + threads) for first in range(0, 256, threads)]
    assert load.requests == len(requests)
    assert load.sectors == sum(len({i * stride * 4 // 32 for i in request}) for request in requests)


def test_a_transpose_stores_one_sector_a_lane() -> None:
    x, y = torch.randn(32, 32), torch.empty(32, 32)
    found = trace(lambda: planted.transpose[(1,)](x, y, ROWS=32, COLUMNS=32))
    assert torch.equal(y, x.T)
    load, store = found.sites
    # Rows are read as 8 requests of 128 floats; a column's 32 floats lie in 32 rows.
    assert (load.requests, load.sectors) == (8, 128)
    assert (store.requests, store.sectors, store.sectors_per_request) == (32, 1024, 32)
    assert found.amplification() == 1.0
    assert found.program_sector_bytes("store") == 32 * 32 * 4


def test_a_half_precision_copy_counts_two_bytes() -> None:
    x, y = torch.randn(512).half(), torch.empty(512).half()
    found = trace(lambda: planted.aligned_copy[(2,)](x, y, BLOCK=256))
    assert found.requested_bytes("load") == 1024
    assert found.sites[0].narrowest_vector_bytes == 16


@pytest.mark.parametrize(("edge", "amplification"), [(False, "10.73"), (True, "10.46")])
def test_the_naive_band_kernel_asks_for_each_byte_more_than_ten_times(edge: bool, amplification: str) -> None:
    x, w = torch.randn(2, 12, 56, 56), torch.randn(12, 11)
    y = torch.empty_like(x)
    found = trace(lambda: planted.band[(24, 4)](x, w, y, 12, 56, 56, K=11, ROWS=16, COLUMNS=64, EDGE=edge))
    rows = x.reshape(2 * 12 * 56, 1, 56)
    expected = torch.nn.functional.conv1d(
        x.permute(0, 2, 1, 3).reshape(-1, 12, 56), w[:, None], padding=5, groups=12
    ).reshape(2, 56, 12, 56)
    assert torch.allclose(y, expected.permute(0, 2, 1, 3), atol=1e-4)
    # A row of 56 is asked for at 11 offsets; each offset loses what falls outside it, and without the edge mask the
    # tile's 8 idle columns ask too.
    columns = range(56) if edge else range(64)
    lanes = sum(0 <= j + k - 5 < 56 for j in columns for k in range(11))
    assert found.requested_bytes("load", ("x",)) == 4 * lanes * len(rows)
    assert f"{found.amplification('load', ('x',)):.2f}" == amplification
    assert found.amplification("store") == 1.0


def test_a_double_read_is_seen_in_the_tensor_and_at_both_lines() -> None:
    x, y = torch.randn(256), torch.empty(256)
    found = trace(lambda: planted.double_read[(1,)](x, y, BLOCK=256))
    assert found.amplification("load") == 2.0
    lines = [site.line for site in found.sites if site.kind == "load"]
    assert lines == [line_of("first = tl.load"), line_of("again = tl.load")]


def test_atomics_and_gathers_are_counted_where_they_land() -> None:
    x, counts = torch.tensor([3, 3, 3, 0] * 8, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    found = trace(lambda: planted.histogram[(1,)](x, counts, BLOCK=32))
    assert counts.tolist()[:4] == [8, 0, 0, 24]
    assert (found.requested_bytes("atomic"), found.unique_bytes("atomic")) == (128, 8)

    source, y = torch.randn(1024), torch.empty(32)
    places = torch.arange(32, dtype=torch.int64) * 32
    gathered = trace(lambda: planted.gathered[(1,)](source, places, y, BLOCK=32))
    load = next(site for site in gathered.sites if site.tensor == "x")
    assert (load.requests, load.sectors) == (1, 32)
    assert gathered.requested_bytes("load", ("places",)) == 256


def test_tensor_descriptors_are_traced_with_their_borders() -> None:
    x, y = torch.randn(20, 24), torch.zeros(20, 24)
    found = trace(lambda: planted.described[(2, 2)](x, y, 20, 24, BLOCK=16))
    assert torch.equal(x, y)
    assert found.requested_bytes("load") == found.requested_bytes("store") == 20 * 24 * 4
    assert not found.out_of_bounds


@pytest.mark.parametrize("checked", [True, False])
def test_block_pointers_are_traced_and_named_where_they_reach_out_of_bounds(checked: bool) -> None:
    try:
        planted.blocks[(1, 1)](torch.zeros(16, 16), torch.zeros(16, 16), 16, 16, BLOCK=16, CHECKED=True)
    except Exception as error:
        pytest.skip(f"this Triton has no block pointers: {error}")
    x, y = torch.randn(20, 24), torch.zeros(20, 24)
    found = trace(lambda: planted.blocks[(2, 2)](x, y, 20, 24, BLOCK=16, CHECKED=checked))
    assert torch.equal(x, y)
    if checked:
        assert found.requested_bytes("load") == found.requested_bytes("store") == 20 * 24 * 4
        assert not found.out_of_bounds
    else:
        assert [one.kind for one in found.out_of_bounds] == ["load", "store"]


def test_an_access_out_of_bounds_is_named_and_masked() -> None:
    x, y = torch.randn(300), torch.empty(300)
    found = trace(lambda: planted.beyond_the_end[(2,)](x, y, 300, BLOCK=256))
    (one,) = found.out_of_bounds
    assert (one.kernel, one.kind, one.program) == ("beyond_the_end", "load", (1, 0, 0))
    assert one.line == line_of("return tl.load(pointers, mask=m)")
    assert one.address == x.data_ptr() + 1200
    assert "4 bytes beyond the end of x" in str(one)
    assert torch.equal(x, y)


def test_a_line_that_reaches_out_of_bounds_often_is_named_once_with_how_often() -> None:
    x, y = torch.randn(1024), torch.empty(512)
    found = trace(lambda: planted.aligned_copy[(4,)](x, y, BLOCK=256))
    (one,) = found.out_of_bounds
    assert (one.kind, one.program, one.lanes, one.programs) == ("store", (2, 0, 0), 512, 2)
    assert str(one).endswith("4 bytes beyond the end of y; 512 elements of 2 programs in all")


def test_every_line_that_reaches_out_of_bounds_is_named_even_an_atomic_without_a_mask() -> None:
    x, counts = torch.full((256,), 1 << 20, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    found = trace(lambda: planted.lost_updates[(1,)](x, counts, BLOCK=256))
    assert [one.line for one in found.out_of_bounds] == [line_of("atomic_add(counts + far"), line_of("atomic_cas(")]
    assert [one.kind for one in found.out_of_bounds] == ["atomic", "atomic"]
    assert not counts.any()


def test_what_a_program_raises_is_named_with_kernel_line_and_program() -> None:
    x, y = torch.randn(64), torch.empty(64)
    line = line_of("tl.arange(0, BLOCK // 2)")
    with pytest.raises(ValueError, match=rf"^unequal, planted\.py:{line}: program \(0, 0, 0\) failed: ValueError: .*"):
        trace(lambda: planted.unequal[(1,)](x, y, BLOCK=64))


def test_an_argument_that_is_missing_or_of_no_type_is_named() -> None:
    x, y = torch.randn(64), torch.empty(64)
    with pytest.raises(ValueError, match="aligned_copy: missing a required argument: 'BLOCK'"):
        trace(lambda: planted.aligned_copy[(1,)](x, y))
    with pytest.raises(ValueError, match="aligned_copy can't be launched: KeyError: 'complex64'"):
        trace(lambda: planted.aligned_copy[(1,)](x.to(torch.complex64), y, BLOCK=64))


def test_tensors_that_share_memory_are_told_apart_by_their_own_elements() -> None:
    buffer = torch.randn(512)
    found = trace(lambda: planted.aligned_copy[(1,)](buffer[:256], buffer[256:], BLOCK=256))
    assert [(t.kind, t.tensor) for t in found.tensors] == [("load", "x"), ("store", "y")]


def test_a_grid_too_large_says_how_long_it_would_take() -> None:
    x, y = torch.randn(256), torch.empty(256)
    with pytest.raises(ValueError, match=r"copy_kernel: 3000000 programs would take about \d+ s .* shrink the batch"):
        trace(lambda: planted.copy_kernel[(3_000_000,)](x, y, 256, BLOCK=256), limit_s=1)


def test_a_long_trace_says_once_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("benchbench.access.traced.time.perf_counter", lambda: float(next(clock)))
    x, y = torch.randn(20 * 256), torch.empty(20 * 256)
    said: list[str] = []
    trace(lambda: planted.aligned_copy[(20,)](x, y, BLOCK=256), told=said.append)
    assert len(said) == 1
    assert said[0].startswith("aligned_copy: tracing 20 programs takes about ")


def test_the_multiply_add_roof_is_right_and_streams_once() -> None:
    from benchbench.kernels.multiply_add import multiply_add, reference

    x = torch.randn(1500)
    kept: list[Any] = []
    found = trace(lambda: kept.append(multiply_add(x, 32)))
    assert torch.allclose(kept[0], reference(x, 32))
    assert found.amplification() == 1.0


def test_a_call_that_launches_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="launched no Triton kernel in the interpreter: call one as"):
        trace(lambda: None)


def test_the_interpreter_is_as_before_after_a_failing_trace() -> None:
    from triton.runtime.interpreter import InterpreterBuilder

    before = InterpreterBuilder.create_masked_load
    with pytest.raises(ZeroDivisionError):
        trace(lambda: 1 / 0)
    assert InterpreterBuilder.create_masked_load is before


def test_the_heat_map_shows_how_often_columns_are_read() -> None:
    x, w = torch.randn(1, 1, 4, 8), torch.randn(1, 3)
    y = torch.empty_like(x)
    found = trace(lambda: planted.band[(1, 1)](x, w, y, 1, 4, 8, K=3, ROWS=4, COLUMNS=8, EDGE=True))
    loads = next(t for t in found.tensors if (t.kind, t.tensor) == ("load", "x"))
    assert heat_map(loads) == [[2, 3, 3, 3, 3, 3, 3, 2]] * 4


def test_the_heat_map_of_a_part_of_a_tensor_is_that_parts() -> None:
    x, y = torch.randn(4, 64), torch.empty(64)
    found = trace(lambda: planted.double_read[(2,)](x[2], y, BLOCK=32))
    loads = next(t for t in found.tensors if (t.kind, t.tensor) == ("load", "x"))
    assert heat_map(loads) == [[2.0] * 32] * 2
    assert loads.unique_bytes == 256


def test_a_tensor_that_is_not_accessed_by_its_elements_has_no_heat_map() -> None:
    x, y = torch.zeros(64), torch.zeros(64)
    found = trace(lambda: planted.as_integers[(1,)](x, y, BLOCK=64))
    assert [heat_map(tensor) for tensor in found.tensors] == [[], []]
    assert found.unique_bytes("load") == 128


def test_the_steps_of_a_kernel_drive_the_modelled_cache() -> None:
    """Each of the 4 programs reads 32 KiB twice: the second time from a cache that holds it, else from memory."""
    x, y = torch.randn(4 * 8192), torch.empty(4 * 8192)
    run: Callable[[], Any] = lambda: planted.double_read[(4,)](x, y, BLOCK=8192)  # noqa: E731
    found: Traffic = trace(run, keep_steps=True)
    size = 4 * 8192 * 4
    roomy = cache.modelled_dram(found.steps, cache.L2(size_bytes=1 << 20, sms=4, programs_per_sm=1))
    assert (roomy.read_bytes, roomy.written_bytes) == (size, size)
    tight = cache.modelled_dram(found.steps, cache.L2(size_bytes=size // 8, sms=4, programs_per_sm=1))
    assert (tight.read_bytes, tight.written_bytes) == (2 * size, size)
