"""The copy roof of a CPU is what a plain C loop reaches on it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

LOOP = """
#include <stddef.h>
void copy(float *restrict out, const float *restrict in, size_t n) { for (size_t i = 0; i < n; i++) out[i] = in[i]; }
"""
AGREEMENT = 0.15


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_copy_roof_agrees_with_a_plain_c_loop(tmp_path: Path) -> None:
    """One thread each, at least four times the last-level cache, the two in turn so that both see the same machine."""
    from benchbench.case import CASES
    from benchbench.clocks import last_level_cache_bytes
    from benchbench.sweeps import roofs  # noqa: F401
    from benchbench.timer import HostClock, Policy, measure

    (tmp_path / "copy.c").write_text(LOOP)
    built = tmp_path / "copy.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(built), str(tmp_path / "copy.c")], check=True)
    loop = ctypes.CDLL(str(built)).copy
    loop.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    kibibytes = -(-4 * last_level_cache_bytes() // 1024)
    workload = CASES["roof_copy"].workload({"kibibytes": kibibytes, "cache": "warm"})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        state = workload.make("cpu")
        arguments = (state.out.data_ptr(), state.sources[0].data_ptr(), state.out.numel())
        policy = Policy(cache="warm", min_samples=5, max_samples=10, time_cap_s=1.0, warmup_floor_s=0.0)
        ours, theirs = [], []
        for _ in range(5):
            ours.append(min(measure(lambda: workload.call(state), policy=policy, clock=HostClock()).samples_s))
            theirs.append(min(measure(lambda: loop(*arguments), policy=policy, clock=HostClock()).samples_s))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state.out, state.sources[0])
    assert min(ours) == pytest.approx(min(theirs), rel=AGREEMENT)


def test_the_largest_size_of_a_cpu_is_four_times_its_cache_if_memory_has_room() -> None:
    from benchbench.clocks import last_level_cache_bytes
    from benchbench.commands.roofs import MOST_OF_MEMORY, cpu_kibibytes

    sizes = cpu_kibibytes()
    assert list(sizes) == sorted(set(sizes))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert sizes[-1] == int(min(4 * last_level_cache_bytes(), memory * MOST_OF_MEMORY)) // 1024


@pytest.mark.slow
def test_a_cpu_measures_its_roofs_and_our_operators_in_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchbench.cli import run as bench

    words = ["roofline", "--measure", "--device", "cpu", "--store", str(tmp_path)]
    assert bench([*words, "--json", "--plot", str(tmp_path / "plots")]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["case"] for row in rows} == {"depthwise_conv", "inception_dwconv"}
    assert all(row["least_bytes"] <= row["known_bytes"] and row["limiter"] for row in rows)
    assert all(row["cache_roof_bytes_per_s"] > row["memory_roof_bytes_per_s"] > 0 for row in rows)
    assert (tmp_path / "plots" / "roofline.png").stat().st_size
