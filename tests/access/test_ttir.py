"""Pointers followed to the kernel's arguments through Triton's intermediate code."""

from __future__ import annotations

from benchbench.access.ttir import tensors_by_line

TEXT = """#loc = loc("/somewhere/kernel.py":3:1)
module {
  tt.func public @k(%x: !tt.ptr<f32> {tt.divisibility = 16 : i32} loc("x"(#loc)), %w: !tt.ptr<f32> loc("w"(#loc)), %y: !tt.ptr<f32> loc("y"(#loc)), %n: i32 loc("n"(#loc))) {
    %0 = tt.make_range {end = 128 : i32, start = 0 : i32} : tensor<128xi32> loc(#loc1)
    %1 = scf.if %c -> (tensor<128xf32>) {
      %2 = tt.splat %x : !tt.ptr<f32> -> tensor<128x!tt.ptr<f32>> loc(#loc1)
      %3 = tt.addptr %2, %0 : tensor<128x!tt.ptr<f32>>, tensor<128xi32> loc(#loc1)
      %4 = tt.load %3 : tensor<128x!tt.ptr<f32>> loc(#loc4)
      scf.yield %4 : tensor<128xf32> loc(#loc1)
    } else {
      %2 = tt.splat %w : !tt.ptr<f32> -> tensor<128x!tt.ptr<f32>> loc(#loc1)
      %3 = tt.addptr %2, %0 : tensor<128x!tt.ptr<f32>>, tensor<128xi32> loc(#loc1)
      %4 = tt.load %3 : tensor<128x!tt.ptr<f32>> loc(#loc2)
      scf.yield %4 : tensor<128xf32> loc(#loc1)
    } loc(#loc1)
    %5 = tt.splat %y : !tt.ptr<f32> -> tensor<128x!tt.ptr<f32>> loc(#loc1)
    %6:2 = scf.for %i = %a to %b step %c iter_args(%p = %5, %q = %1) -> (tensor<128x!tt.ptr<f32>>, tensor<128xf32>)  : i32 {
      tt.store %p, %q : tensor<128x!tt.ptr<f32>> loc(#loc3)
      %7 = tt.atomic_rmw fadd, acq_rel, gpu, %p, %q, %m : (tensor<128x!tt.ptr<f32>>, tensor<128xf32>, tensor<128xi1>) -> tensor<128xf32> loc(#loc1)
      scf.yield %p, %q : tensor<128x!tt.ptr<f32>>, tensor<128xf32> loc(#loc1)
    } loc(#loc1)
    tt.return loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc1 = loc("/somewhere/kernel.py":5:4)
#loc2 = loc("/somewhere/kernel.py":9:4)
#loc3 = loc("out"(#loc5))
#loc4 = loc(callsite(#loc6 at #loc2))
#loc5 = loc("/somewhere/kernel.py":12:4)
#loc6 = loc("/somewhere/helper.py":2:8)
"""  # noqa: E501


def test_a_pointer_is_known_where_it_is_used_though_a_sibling_region_reuses_its_name() -> None:
    found = tensors_by_line(TEXT)
    assert found["load", "helper.py", 2] == ("x",)
    assert found["load", "kernel.py", 9] == ("w",)


def test_a_loop_carried_pointer_is_followed_to_its_start() -> None:
    assert tensors_by_line(TEXT)["store", "kernel.py", 12] == ("y",)


def test_an_atomic_is_found_by_its_pointer() -> None:
    assert tensors_by_line(TEXT)["atomic", "kernel.py", 5] == ("y",)
