"""What does the machine code of a kernel hold? Its instructions with source lines, its blocks and its loops.

Input is what ``nvdisasm -c -g`` prints for a cubin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of SASS. ``line`` is the innermost source line, 0 where none is known; ``times`` its loops' trips."""

    address: int
    predicate: str
    opcode: str
    operands: tuple[str, ...]
    file: str
    line: int
    target: str = ""
    times: int = 1

    @property
    def name(self) -> str:
        """The opcode without modifiers: LDG of LDG.E.128."""
        return self.opcode.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class Listing:
    """The instructions of one kernel, and the index of the instruction that each label stands before."""

    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]


_LINE = re.compile(r'^\s*//## File "([^"]*)", line (\d+)')
_LABEL = re.compile(r"^(\.L_[\w]*|\$[\w$]+|[\w$]+):\s*$")
_CODE = re.compile(r"^\s*/\*([0-9a-f]+)\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
_TARGET = re.compile(r"`\(([^)]+)\)")


def parse(text: str) -> Listing:
    """The listing of ``nvdisasm -c -g``, without NOPs and without the closing branch to itself."""
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    file, line = "", 0
    for row in text.splitlines():
        if place := _LINE.match(row):
            file, line = place[1], int(place[2])
        elif label := _LABEL.match(row):
            labels[label[1]] = len(found)
        elif code := _CODE.match(row):
            # ptxas of newer CUDA lets nvdisasm print its scheduling behind the operands: "&wr=0x0 ?trans1".
            written = re.split(r"\s*[&?]\w", code[4], maxsplit=1)[0].strip()
            target = _TARGET.search(written)
            operands = tuple(part.strip() for part in written.split(",")) if written else ()
            one = Instruction(
                int(code[1], 16), code[2] or "", code[3], operands, file, line, target[1] if target else ""
            )
            if one.name == "NOP" or _branches_to_itself(one, labels, len(found)):
                continue
            found.append(one)
    return Listing(tuple(found), labels)


def _branches_to_itself(one: Instruction, labels: Mapping[str, int], index: int) -> bool:
    return one.name == "BRA" and not one.predicate and len(one.operands) == 1 and labels.get(one.target) == index


# ---- control flow -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions [start, stop) that run one after another, and the numbers of the blocks that may follow."""

    start: int
    stop: int
    following: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A natural loop: its header block and all of its blocks."""

    header: int
    blocks: frozenset[int]


def blocks_of(listing: Listing) -> tuple[Block, ...]:
    """The basic blocks in the order of their addresses."""
    code = listing.instructions
    starts = {0, *(index for index in listing.labels.values() if index < len(code))}
    starts |= {i + 1 for i, one in enumerate(code[:-1]) if one.name in ("BRA", "EXIT", "RET", "BRX", "JMP", "CALL")}
    ordered = sorted(starts)
    number = {start: n for n, start in enumerate(ordered)}
    found = []
    for n, start in enumerate(ordered):
        stop = ordered[n + 1] if n + 1 < len(ordered) else len(code)
        last = code[stop - 1]
        following = []
        if _may_jump(last) and listing.labels.get(last.target, len(code)) < len(code):
            following.append(number[listing.labels[last.target]])
        if not (last.name in ("BRA", "JMP", "EXIT", "RET") and not is_conditional(last)) and n + 1 < len(ordered):
            following.append(n + 1)
        found.append(Block(start, stop, tuple(following)))
    return tuple(found)


def _may_jump(one: Instruction) -> bool:
    """Branches, and on sm_80 the predicated call of a label of the same function by which threads leave a loop."""
    return one.name in ("BRA", "JMP") or (one.name == "CALL" and bool(one.predicate) and one.target.startswith(".L_"))


def is_conditional(one: Instruction) -> bool:
    """Whether the instruction is taken by some predicate: @P0 BRA, or BRA.U UP0 of newer architectures."""
    return bool(one.predicate) or (one.name == "BRA" and len(one.operands) > 1)


def loops_of(blocks: Sequence[Block]) -> tuple[Loop, ...]:
    """The natural loops; a branch backwards from a cold path behind the EXIT is none."""
    dominators = dominators_of(blocks)
    before: dict[int, set[int]] = {n: set() for n in range(len(blocks))}
    for n, block in enumerate(blocks):
        for after in block.following:
            before[after].add(n)
    bodies: dict[int, set[int]] = {}
    for n, block in enumerate(blocks):
        for header in block.following:
            if header in dominators[n]:
                body = bodies.setdefault(header, {header})
                waiting = [n]
                while waiting:
                    current = waiting.pop()
                    if current not in body:
                        body.add(current)
                        waiting.extend(before[current])
    return tuple(Loop(header, frozenset(body)) for header, body in sorted(bodies.items()))


def dominators_of(blocks: Sequence[Block]) -> list[set[int]]:
    """For each block the blocks that every way from the entry to it passes; empty for what is never reached."""
    before: dict[int, list[int]] = {n: [] for n in range(len(blocks))}
    for n, block in enumerate(blocks):
        for after in block.following:
            before[after].append(n)
    reached = _reached(blocks)
    everything = set(reached)
    found = [set(everything) if n in everything else set() for n in range(len(blocks))]
    found[0] = {0}
    changed = True
    while changed:
        changed = False
        for n in sorted(everything - {0}):
            new = set.intersection(*(found[b] for b in before[n] if b in everything)) | {n}
            if new != found[n]:
                found[n], changed = new, True
    return found


def _reached(blocks: Sequence[Block]) -> set[int]:
    seen, waiting = {0}, [0]
    while waiting:
        for after in blocks[waiting.pop()].following:
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return seen


def width_of(one: Instruction) -> int:
    """Bytes that one thread moves with this load or store."""
    words = one.opcode.split(".")
    for word, width in (("256", 32), ("128", 16), ("64", 8), ("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2), ("32", 4)):
        if word in words[1:]:
            return width
    return 4


def opcode_counts(instructions: Iterable[Instruction]) -> dict[str, int]:
    """How often each bare opcode runs, loops counted, most frequent first."""
    found: dict[str, int] = {}
    for one in instructions:
        found[one.name] = found.get(one.name, 0) + one.times
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
