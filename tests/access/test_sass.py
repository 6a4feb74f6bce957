"""Machine code read from text: lines, blocks, loops and how often they run."""

from __future__ import annotations

import pytest

from benchbench.access import sass
from benchbench.access.sass import Listing
from benchbench.access.trips import TripCountError, with_trip_counts


def listing(*rows: str) -> Listing:
    """Rows of "OPCODE operands" and "label:" as nvdisasm would print them, closed by an EXIT and the usual trailer."""
    text, address = ["kernel:", ".text.kernel:"], 0
    for row in (*rows, "EXIT", ".L_x_99:", "BRA `(.L_x_99)", "NOP"):
        if row.endswith(":"):
            text.append(row)
        elif row.startswith("//"):
            text.append(f"\t{row}")
        else:
            text.append(f"        /*{address:04x}*/                   {row} ;")
            address += 16
    return sass.parse("\n".join(text))


def trips(*rows: str) -> list[int]:
    return [one.times for one in with_trip_counts(listing(*rows)).instructions]


def test_nops_and_the_closing_branch_are_no_instructions() -> None:
    assert [one.opcode for one in listing("MOV R0, 0x1", "NOP").instructions] == ["MOV", "EXIT"]


def test_an_instruction_knows_its_source_line_predicate_and_operands() -> None:
    one = listing('//## File "/somewhere/kernel.py", line 12', "@!P0 LDG.E.128 R4, desc[UR4][R2.64+0x10]").instructions[
        0
    ]
    assert (one.file, one.line, one.predicate, one.name) == ("/somewhere/kernel.py", 12, "@!P0", "LDG")
    assert one.operands == ("R4", "desc[UR4][R2.64+0x10]")


def test_scheduling_notes_of_newer_tools_are_no_operands() -> None:
    one = listing("BRA.U UP0, `(.L_x_0)          &wr=0x0  ?trans1").instructions[0]
    assert (one.operands, one.target) == (("UP0", "`(.L_x_0)"), ".L_x_0")


@pytest.mark.parametrize(
    ("opcode", "width"),
    [
        ("LDG.E.128", 16),
        ("LDG.E.64.CONSTANT", 8),
        ("LDG.E", 4),
        ("LDG.E.U16", 2),
        ("STG.E.U8", 1),
        ("LDG.E.ENL2.256", 32),
    ],
)
def test_the_width_of_an_access_is_in_its_modifiers(opcode: str, width: int) -> None:
    assert sass.width_of(listing(f"{opcode} R4, desc[UR4][R2.64]").instructions[0]) == width


def test_code_without_loops_runs_once() -> None:
    assert trips("MOV R0, 0x1", "@P0 EXIT", "IADD3 R0, R0, 0x1, RZ") == [1, 1, 1, 1]


def test_a_counted_loop_runs_its_trips() -> None:
    found = trips(
        "MOV R0, RZ",
        ".L_x_0:",
        "IADD3 R0, R0, 0x1, RZ",
        "ISETP.NE.AND P0, PT, R0, 0x10, PT",
        "@P0 BRA `(.L_x_0)",
    )
    assert found == [1, 16, 16, 16, 1]


def test_a_counter_that_starts_as_a_half_precision_constant_is_followed() -> None:
    # 1.78813934326171875e-07 is 3 in the bits of a half: the assembler's way to write small integers.
    found = trips(
        "HFMA2.MMA R0, -RZ, RZ, 0, 1.78813934326171875e-07",
        ".L_x_0:",
        "IADD3 R0, R0, -0x1, RZ",
        "ISETP.GT.AND P0, PT, R0, RZ, PT",
        "@P0 BRA `(.L_x_0)",
    )
    assert found[1] == 3


def test_a_counter_beside_a_funnel_shift_which_writes_one_register_is_followed() -> None:
    found = trips(
        "MOV R5, RZ",
        ".L_x_0:",
        "SHF.L.U64.HI R4, R4, 0x2, R7",
        "IADD3 R5, R5, 0x20, RZ",
        "ISETP.NE.U32.AND P0, PT, R5, 0x100, PT",
        "@P0 BRA `(.L_x_0)",
    )
    assert found == [1, 8, 8, 8, 8, 1]


def test_a_64_bit_counter_in_two_registers_is_followed() -> None:
    found = trips(
        "UMOV UR4, 0xfffa8800",
        "UMOV UR5, 0xffffffff",
        ".L_x_0:",
        "UIADD3 UR4, UP0, UR4, 0xe00, URZ",
        "UIADD3.X UR5, URZ, UR5, URZ, UP0, !UPT",
        "ISETP.NE.U32.AND P0, PT, RZ, UR4, PT",
        "ISETP.NE.U32.AND.EX P0, PT, RZ, UR5, PT, P0",
        "@P0 BRA `(.L_x_0)",
    )
    assert found[2] == 100


def test_a_64_bit_counter_of_the_newest_architecture_is_followed() -> None:
    found = trips(
        "UMOV.64 UR4, 0x400",
        ".L_x_0:",
        "UIADD3.64 UR4, UPT, UPT, UR4, 0x1c00, URZ",
        "UISETP.NE.U64.AND UP0, UPT, UR4, 0xc800, UPT",
        "BRA.U UP0, `(.L_x_0)",
    )
    assert found[1] == 7


def test_a_trip_counted_in_a_predicate_is_followed() -> None:
    # Two trips need no counter: the assembler turns a predicate over.
    found = trips(
        "UPLOP3.LUT UP0, UPT, UPT, UPT, UPT, 0x80, 0x0",
        ".L_x_0:",
        "PLOP3.LUT P2, PT, PT, PT, UP0, 0x80, 0x0",
        "UPLOP3.LUT UP0, UPT, UPT, UPT, UPT, 0x40, 0x0",
        "@P2 BRA `(.L_x_0)",
    )
    assert found == [1, 2, 2, 2, 1]


def test_a_loop_that_is_left_by_a_call_ends() -> None:
    # For sm_80 the assembler leaves some loops like this: a call that nothing returns from, then the way back.
    found = trips(
        "MOV R0, RZ",
        ".L_x_0:",
        "IADD3 R0, R0, 0x10, RZ",
        "ISETP.NE.U32.AND P0, PT, R0, 0x80, PT",
        "@!P0 CALL.REL.NOINC `(.L_x_1)",
        "BRA `(.L_x_0)",
        ".L_x_1:",
        "EXIT",
    )
    assert found[:5] == [1, 8, 8, 8, 8]


def test_nested_loops_multiply() -> None:
    found = trips(
        "MOV R0, RZ",
        ".L_x_0:",
        "MOV R1, RZ",
        ".L_x_1:",
        "IADD3 R1, R1, 0x2, RZ",
        "ISETP.LT.AND P0, PT, R1, 0x6, PT",
        "@P0 BRA `(.L_x_1)",
        "IADD3 R0, R0, 0x1, RZ",
        "ISETP.LT.AND P1, PT, R0, 0x4, PT",
        "@P1 BRA `(.L_x_0)",
    )
    assert found == [1, 4, 12, 12, 12, 4, 4, 4, 1]


def test_a_branch_back_from_a_cold_path_is_no_loop() -> None:
    found = trips("@P0 BRA `(.L_x_1)", ".L_x_0:", "MOV R0, RZ", "EXIT", ".L_x_1:", "MOV R1, RZ", "BRA `(.L_x_0)")
    assert set(found) == {1}


def test_a_loop_that_depends_on_data_is_an_error_that_names_its_line() -> None:
    with pytest.raises(TripCountError, match=r"kernel\.py:7 .* no constant trip count"):
        trips(
            "LDG.E R5, desc[UR4][R2.64]",
            "MOV R0, RZ",
            ".L_x_0:",
            "IADD3 R0, R0, 0x1, RZ",
            "ISETP.LT.AND P0, PT, R0, R5, PT",
            '//## File "/somewhere/kernel.py", line 7',
            "@P0 BRA `(.L_x_0)",
        )


def test_a_counter_overwritten_by_a_load_is_not_trusted() -> None:
    with pytest.raises(TripCountError):
        trips(
            "MOV R4, RZ",
            ".L_x_0:",
            "IADD3 R4, R4, 0x1, RZ",
            "LDG.E.128 R4, desc[UR4][R2.64]",
            "ISETP.LT.AND P0, PT, R4, 0x10, PT",
            "@P0 BRA `(.L_x_0)",
        )


def test_a_counter_changed_only_sometimes_is_not_trusted() -> None:
    with pytest.raises(TripCountError):
        trips(
            "MOV R4, RZ",
            ".L_x_0:",
            "@P1 IADD3 R4, R4, 0x1, RZ",
            "ISETP.LT.AND P0, PT, R4, 0x10, PT",
            "@P0 BRA `(.L_x_0)",
        )
