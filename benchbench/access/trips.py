"""How often does each loop of the machine code run?

Found by running the integer arithmetic that feeds the loop's branch, because ptxas unrolls: the ``for`` of the source
and the loop of the code need not agree.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import replace

from benchbench.access.sass import Block, Instruction, Listing, Loop, blocks_of, dominators_of, is_conditional, loops_of


class TripCountError(ValueError):
    """A loop whose trip count is not fixed in the code."""


def with_trip_counts(listing: Listing) -> Listing:
    """The same listing, each instruction carrying how often its loops run it.

    Raises TripCountError, naming the source line, where a trip count is not a constant of the code.
    """
    blocks = blocks_of(listing)
    loops = loops_of(blocks)
    if not loops:
        return listing
    times = [1] * len(listing.instructions)
    for loop in loops:
        trips = trip_count(listing, blocks, loops, loop)
        for n in loop.blocks:
            for index in range(blocks[n].start, blocks[n].stop):
                times[index] *= trips
    marked = (replace(one, times=times[index]) for index, one in enumerate(listing.instructions))
    return Listing(tuple(marked), listing.labels)


MOST_TRIPS = 1_000_000


def trip_count(listing: Listing, blocks: Sequence[Block], loops: Sequence[Loop], loop: Loop) -> int:
    """How often the header of ``loop`` runs for each time that the loop is entered."""
    code = listing.instructions
    dominators = dominators_of(blocks)
    exits = [n for n in sorted(loop.blocks) if set(blocks[n].following) - loop.blocks]
    where = code[blocks[max(_latches(blocks, loop))].stop - 1]
    problem = TripCountError(
        f"the loop at {where.file.rsplit('/', 1)[-1]}:{where.line} (address {where.address:#x}) has no constant trip "
        "count: make its bounds constexpr, so that its instructions can be counted"
    )
    if len(exits) != 1 or not is_conditional(code[blocks[exits[0]].stop - 1]):
        raise problem
    state = _state_before(code, blocks, loops, loop, dominators)
    inner = {n for other in loops if other.blocks < loop.blocks for n in other.blocks}
    branch = code[blocks[exits[0]].stop - 1]
    taken_stays = listing.labels[branch.target] in {blocks[n].start for n in loop.blocks}
    for trip in range(1, MOST_TRIPS):
        stays: bool | None = None
        for n in sorted(loop.blocks):
            straight = n not in inner and all(n in dominators[m] for m in _latches(blocks, loop))
            for one in code[blocks[n].start : blocks[n].stop]:
                if straight:
                    _execute(one, state)
                else:
                    _forget(one, state)
            if n == exits[0]:
                taken = _branch_taken(branch, state)
                if taken is None:
                    raise problem
                stays = taken == taken_stays
                if not stays:
                    return trip
    raise problem


def _latches(blocks: Sequence[Block], loop: Loop) -> list[int]:
    return [n for n in loop.blocks if loop.header in blocks[n].following]


def _state_before(
    code: Sequence[Instruction], blocks: Sequence[Block], loops: Sequence[Loop], loop: Loop, dominators: list[set[int]]
) -> dict[str, int | None]:
    """The registers known when the loop is entered: constants written by what every way to it passes."""
    state: dict[str, int | None] = {}
    around = [other for other in loops if loop.blocks < other.blocks]
    for n in range(loop.header):
        if n in loop.blocks:
            continue
        for other in around:
            if other.header == n:
                for m in other.blocks:
                    for one in code[blocks[m].start : blocks[m].stop]:
                        _forget(one, state)
        inside_another = any(n in other.blocks and other not in around for other in loops)
        for one in code[blocks[n].start : blocks[n].stop]:
            if n in dominators[loop.header] and not inside_another:
                _execute(one, state)
            else:
                _forget(one, state)
    return state


# ---- the little integer machine behind trip counts ------------------------------------------------------------

_MASK = 0xFFFFFFFF
_REGISTER = re.compile(r"^(U?R)(\d+)$")
_ZERO = {"RZ", "URZ", "SRZ"}
State = dict[str, "int | None"]


def _bare(operand: str) -> str:
    return operand.strip().lstrip("-~!").strip("|").split(".", 1)[0]


def _value(operand: str, state: State) -> int | None:
    """The 32-bit value of an operand, None where it is not known."""
    name = operand.split(".reuse")[0].split(".64")[0].strip()
    negative, inverted = name.startswith("-"), name.startswith("~")
    name = name.lstrip("-~")
    if name in _ZERO:
        found: int | None = 0
    elif re.fullmatch(r"0x[0-9a-f]+|\d+", name):
        found = int(name, 0)
    else:
        found = state.get(name)
    if found is None:
        return None
    found = -found if negative else ~found if inverted else found
    return found


def _pair(operand: str, state: State) -> int | None:
    """The 64-bit value of an operand: an immediate, or a register and the next."""
    register = _REGISTER.match(_bare(operand))
    if register is None:
        found = _value(operand, state)
        return None if found is None else found & 0xFFFFFFFFFFFFFFFF
    low, high = state.get(_bare(operand)), state.get(f"{register[1]}{int(register[2]) + 1}")
    if low is None or high is None:
        return None
    joined = low | high << 32
    return -joined & 0xFFFFFFFFFFFFFFFF if operand.strip().startswith("-") else joined


def _truth(operand: str, state: State) -> bool | None:
    name = operand.strip()
    inverted, name = name.startswith("!"), name.lstrip("!")
    found = True if name in ("PT", "UPT") else state.get(name)
    return None if found is None else bool(found) != inverted


def _branch_taken(branch: Instruction, state: State) -> bool | None:
    words = [branch.predicate.lstrip("@")] if branch.predicate else list(branch.operands[:-1])
    truths = [_truth(word, state) for word in words]
    return None if None in truths else all(truths)


def _is_predicate(operand: str) -> bool:
    return re.fullmatch(r"!?U?P(\d|T)", operand.strip()) is not None


def _forget(one: Instruction, state: State) -> None:
    """Drop what the instruction may write: over-cautious for wide results, so that no stale value survives."""
    if not one.operands or one.name in ("ST", "STG", "STS", "STL", "RED", "BRA", "EXIT", "BAR"):
        return
    for operand in one.operands[:3]:
        if not _is_predicate(operand):
            break
        state.pop(operand.strip(), None)
    for operand in one.operands[:2]:
        if (register := _REGISTER.match(_bare(operand))) and not operand.strip().startswith(("[", "-", "!")):
            # A funnel shift takes 64 bits and gives 32.
            pair = re.search(r"64|WIDE|CS2R", one.opcode) is not None and one.name != "SHF"
            wide = 4 if "128" in one.opcode else 2 if pair else 1
            wide = 64 if "MMA" in one.name and "HFMA2" not in one.name else wide
            for extra in range(wide):
                state.pop(f"{register[1]}{int(register[2]) + extra}", None)
        if not _is_predicate(operand):
            break


def _execute(one: Instruction, state: State) -> None:
    results = _results(one, state) if not one.predicate else None
    _forget(one, state)
    for name, value in (results or {}).items():
        if value is not None and name not in ("PT", "UPT", *_ZERO):
            state[name] = value


def _results(one: Instruction, state: State) -> State | None:
    """What the instruction writes, where it is one of those that loop counters are made of."""
    op, operands = one.opcode, one.operands
    name = one.name.removeprefix("U") if one.name not in ("UMOV",) else "MOV"
    if name in ("ISETP",):
        return _compare(one, state)
    if name == "PLOP3":
        return _logic(one, state)
    if not operands:
        return None
    wide = ".64" in op or (name == "CS2R" and ".32" not in op)
    if name in ("MOV", "CS2R", "R2UR") or op.startswith(("IMAD.MOV", "IMAD.U32")):
        source = operands[-1]
        return _write(operands[0], _pair(source, state) if wide else _value(source, state), wide)
    if name in ("HFMA2", "HFMA2.MMA") and len(operands) == 5 and {_bare(operands[1]), _bare(operands[2])} == {"RZ"}:
        return _write(operands[0], _halves(operands[3], operands[4]), False)
    if name in ("IADD3", "IADD", "VIADD"):
        return _add(one, state, wide)
    if op in ("IMAD.IADD", "IMAD", "IMAD.SHL.U32", "IMAD.SHL", "IMAD.X") and len(operands) >= 4:
        a, b, c = (_value(operand, state) for operand in operands[1:4])
        carry = _truth(operands[4], state) if op == "IMAD.X" and len(operands) > 4 else False
        known = None if a is None or b is None or c is None or carry is None else a * b + c + carry
        return _write(operands[0], known, False)
    return None


def _logic(one: Instruction, state: State) -> State | None:
    """PLOP3 d, e, a, b, c, lut of d, lut of e: bit 4 a + 2 b + c of a lut is the result; 0x80 is a and b and c."""
    if len(one.operands) < 7:
        return None
    truths = [_truth(operand, state) for operand in one.operands[2:5]]
    if None in truths:
        return None
    bit = sum(weight for weight, truth in zip((4, 2, 1), truths, strict=True) if truth)
    tables = [int(operand, 0) for operand in one.operands[5:7]]
    return {one.operands[k].strip(): tables[k] >> bit & 1 for k in (0, 1)}


def _write(target: str, value: int | None, wide: bool) -> State | None:
    register = _REGISTER.match(_bare(target))
    if value is None or register is None:
        return None
    if not wide:
        return {_bare(target): value & _MASK}
    return {_bare(target): value & _MASK, f"{register[1]}{int(register[2]) + 1}": value >> 32 & _MASK}


def _halves(high: str, low: str) -> int | None:
    try:
        return int.from_bytes(struct.pack("<ee", float(low), float(high)), "little")
    except (ValueError, OverflowError):
        return None


def _add(one: Instruction, state: State, wide: bool) -> State | None:
    """IADD3 d, [carries out,] a, b[, c][, carries in]."""
    rest = list(one.operands[1:])
    carries_out = []
    while rest and _is_predicate(rest[0]):
        carries_out.append(rest.pop(0).strip())
    carries_in = []
    while rest and _is_predicate(rest[-1]):
        carries_in.append(rest.pop())
    values = [_pair(operand, state) if wide else _value(operand, state) for operand in rest]
    carried = [_truth(operand, state) for operand in carries_in] if ".X" in one.opcode else []
    if None in values or None in carried:
        return None
    modulus = 1 << (64 if wide else 32)
    total = sum(value % modulus for value in values if value is not None) + sum(bool(c) for c in carried)
    found = _write(one.operands[0], total % modulus, wide) or {}
    if carries_out:
        found[carries_out[0]] = int(total >= modulus)
    return found


_COMPARISONS = {
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
}


def _compare(one: Instruction, state: State) -> State | None:
    """ISETP.<cmp>[.U32].<AND|OR>[.EX] p, q, a, b, r[, lower]: EX compares the high halves, ``lower`` decides ties."""
    words = one.opcode.split(".")
    comparison = next((word for word in words if word in _COMPARISONS), "")
    wide = any(word in ("U64", "S64", "64") for word in words)
    if not comparison or len(one.operands) < 5:
        return None
    a, b = (_pair(o, state) if wide else _value(o, state) for o in one.operands[2:4])
    combined = _truth(one.operands[4], state)
    if a is None or b is None or combined is None:
        return None
    bits = 64 if wide else 32
    a, b = a % (1 << bits), b % (1 << bits)
    if not any(word in ("U32", "U64") for word in words):
        a, b = (v - (1 << bits) if v >> (bits - 1) else v for v in (a, b))
    holds: bool | None = _COMPARISONS[comparison](a, b)
    if "EX" in words:
        lower = _truth(one.operands[5], state) if len(one.operands) > 5 else None
        if comparison == "EQ":
            holds = False if not holds else lower
        elif comparison == "NE":
            holds = True if holds else lower
        elif a == b:
            holds = lower
    if holds is None:
        return None
    result = (holds and combined) if "AND" in words else (holds or combined) if "OR" in words else holds != combined
    return {one.operands[0].strip(): int(result)}
