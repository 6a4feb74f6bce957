"""How are traced and compiled kernels and rooflines shown to people? Short columns, rounded, a sentence at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbench import units

Row = dict[str, Any]
Shown = list[dict[str, str]]
# The commonest instructions say what a kernel does; the others are in --json.
OPCODES_SHOWN = 8
STATEMENT_COLUMNS = 60


def traffic_table(rows: Sequence[Mapping[str, Any]]) -> Shown:
    """Our kernels' bytes beside the floor."""
    return [
        _spec(row)
        | {
            "requested": units.bytes_text(row["requested_bytes"]),
            "over the floor": units.ratio_text(row["requested_bytes"] / row["floor_bytes"]),
            "sectors over the floor": units.ratio_text(row["program_sector_bytes"] / row["floor_bytes"]),
            "amplification": units.ratio_text(row["amplification"]),
            "loaded": units.bytes_text(row["loaded_bytes"]),
            "stored": units.bytes_text(row["stored_bytes"]),
            "weights and sums": units.bytes_text(row["parameter_bytes"]),
        }
        for row in rows
    ]


def resource_table(rows: Sequence[Mapping[str, Any]]) -> Shown:
    """What our kernels need of the machine; columns in which no row has anything are left out."""
    return _filled(
        [
            _spec(row)
            | {
                "registers": str(row["registers"]),
                "spills": units.bytes_text(row["spill_bytes"]),
                "shared": units.bytes_text(row["shared_bytes"]),
                "occupancy": units.share_text(row["occupancy"]),
                "in flight": units.bytes_text(row["bytes_in_flight"]),
                "instructions an output": units.number_text(row["instructions_per_output"], digits=3),
                "stores": _widths(row["store_widths"]),
                "wide loads": units.share_text(row["wide_load_share"]),
                "copies": _widths(row["identity_widths"]),
                "mma": row["mma"],
            }
            for row in rows
        ]
    )


def own_resource_table(rows: Sequence[Mapping[str, Any]]) -> Shown:
    """What the kernels of a user's file need of the machine."""
    return _filled(
        [
            {
                "kernel": row["kernel"],
                "arch": row["arch"],
                "programs": f"{row['programs']:,}",
                "threads": str(row["threads"]),
                "registers": str(row["registers"]),
                "spills": units.bytes_text(row["spill_bytes"]),
                "shared": units.bytes_text(row["shared_bytes"]),
                "occupancy": units.share_text(row["occupancy"]),
                "in flight": units.bytes_text(row["bytes_in_flight"]),
                "instructions": units.MISSING if row["instructions"] is None else f"{row['instructions']:,}",
                "loads": _widths(row["load_widths"]),
                "stores": _widths(row["store_widths"]),
                "mma": row["mma"],
            }
            for row in rows
        ]
    )


def access_table(rows: Sequence[Mapping[str, Any]]) -> Shown:
    """Each load and store of the machine code with its width and its source line."""
    return [
        {
            "kernel": row["kernel"],
            "arch": row["arch"],
            "access": f"{kind} {tensors}".strip(),
            "a thread": units.bytes_text(width),
            "times": f"{times:,}",
            "at": place,
            "statement": _short(statement),
        }
        for row in rows
        for kind, tensors, width, times, place, statement in row["accesses"]
    ]


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The mix of instructions, where they spill, and why they could not be counted: what no column has room for."""
    found = []
    for row in rows:
        name = ", ".join(filter(None, (row["kernel"], row.get("direction"), row.get("layout"), row["arch"])))
        mix = sorted(row["mix"].items(), key=lambda pair: -pair[1])
        more = f" and {len(mix) - OPCODES_SHOWN} more" if len(mix) > OPCODES_SHOWN else ""
        found.append(f"{name}: {', '.join(f'{word} {count}' for word, count in mix[:OPCODES_SHOWN])}{more}")
        if moved := [f"{word} {count}" for word, count in mix if word in ("UTMALDG", "UTMASTG", "UTMAREDG", "UBLKCP")]:
            found.append(f"{name}: the tensor memory accelerator moves tiles ({', '.join(moved)}), which have no width")
        if row["spilled_at"]:
            found.append(f"{name} spills at {', '.join(row['spilled_at'][:OPCODES_SHOWN])}")
        if row["reason"]:
            found.append(f"{name}: instructions are not counted: {row['reason']}")
    return found


def site_table(sites: Sequence[Mapping[str, Any]]) -> Shown:
    """The loads and stores of the source, as traced."""
    return [
        {
            "kernel": site["kernel"],
            "access": f"{site['kind']} {site['tensor']}",
            "requested": units.bytes_text(site["requested_bytes"]),
            "requests": f"{site['requests_modelled']:,}",
            "sectors a request": units.number_text(site["sectors_per_request_modelled"], digits=3),
            "a thread": units.bytes_text(site["vector_bytes_modelled"]),
            "at": f"{site['file']}:{site['line']}",
            "statement": _short(site["statement"]),
        }
        for site in sites
    ]


def tensor_table(tensors: Sequence[Mapping[str, Any]]) -> Shown:
    """What each launch asks of each tensor."""
    return [
        {
            "launch": str(one["launch"]),
            "kernel": one["kernel"],
            "access": f"{one['kind']} {one['tensor']}",
            "requested": units.bytes_text(one["requested_bytes"]),
            "unique": units.bytes_text(one["unique_bytes"]),
            "amplification": units.ratio_text(one["amplification"]),
            "programs' sectors": units.bytes_text(one["program_sector_bytes"]),
        }
        for one in tensors
    ]


def sentence(detail: Mapping[str, Any], l2: Mapping[str, int]) -> str:
    """The trace in one line: what was asked for, of what most too often, and what is left behind the modelled cache."""
    names = list(dict.fromkeys(one["kernel"] for one in detail["launches"]))
    if not detail["tensors"]:
        programs = sum(one["programs"] for one in detail["launches"])
        return f"{', '.join(names)}: nothing was asked for: {programs} programs ran, and no lane of theirs was unmasked"
    requested, unique = (sum(one[f"{name}_bytes"] for one in detail["tensors"]) for name in ("requested", "unique"))
    dram = detail["dram"]
    cache = f"an L2 of {l2['size_bytes'] // (1 << 20)} MiB, lines of {l2['line_bytes']} B, {l2['sms']} multiprocessors"
    found = [
        f"{units.bytes_text(requested)}, {units.ratio_text(requested / unique)} "
        f"what is touched; behind {cache} (modelled) DRAM reads {units.bytes_text(dram['read_bytes'])} and writes "
        f"{units.bytes_text(dram['written_bytes'])}"
    ]
    most = max(detail["tensors"], key=lambda one: one["requested_bytes"] - one["unique_bytes"], default=None)
    if most is not None and most["requested_bytes"] > most["unique_bytes"]:
        places = {
            f"{site['file']}:{site['line']}": site["requested_bytes"]
            for site in detail["sites"]
            if (site["kernel"], site["kind"], site["tensor"]) == (most["kernel"], most["kind"], most["tensor"])
        }
        found.append(
            f"most is asked again by {most['kind']}s of {most['tensor']}, {units.ratio_text(most['amplification'])}, "
            f"at {max(places, key=lambda place: places[place])}"
        )
    return f"{', '.join(names)} {'asks' if len(names) == 1 else 'ask'} for {'; '.join(found)}"


def stream_table(streams: Sequence[Mapping[str, Any]]) -> Shown:
    """The measured copies and triads over sizes: the plateaus of cache and memory can be seen."""
    return [
        {
            "what": one["case"].removeprefix("roof_").replace("_", " "),
            "moved": units.bytes_text(one["work_bytes"]),
            "cache": one["cache"],
            "rate": units.bandwidth_text(one["bytes_per_s"]),
        }
        for one in streams
    ]


def roof_table(roofs: Mapping[str, Any]) -> Shown:
    """The roofs that points are judged by."""
    rates = {
        "memory": units.bandwidth_text(roofs["memory_bytes_per_s"]),
        "cache": units.bandwidth_text(roofs["cache_bytes_per_s"]),
        "multiply-add, float32": units.compute_text(roofs["fma_flops_per_s"]),
    }
    rates |= {
        f"tensor cores, {kind} (no depthwise convolution of PyTorch uses them)": units.compute_text(rate)
        for kind, rate in roofs["tensor_flops_per_s"].items()
    }
    return [{"roof": name, "measured": rate} for name, rate in rates.items()]


def bar_table(points: Sequence[Mapping[str, Any]]) -> Shown:
    """Each point's least and best-known bytes, its shares of the roofs, and what limits it."""
    return [
        {
            "what": point["name"],
            "least bytes": units.bytes_text(point["least_bytes"]),
            "best known": f"{units.bytes_text(point['known_bytes'])} ({point['provenance']})",
            "of the memory roof": units.share_text(point["share_of_memory_roof"]),
            "of the multiply-add roof": units.share_text(point["share_of_fma_roof"]),
            "limited by": point["limiter"] + (f"; {point['doubt']}" if point["doubt"] else ""),
        }
        for point in points
    ]


def layer_table(points: Sequence[Mapping[str, Any]], roofs: Mapping[str, Any]) -> Shown:
    """What networks would move layer by layer, where that is known."""
    rate = roofs["memory_bytes_per_s"]
    return [
        {
            "network": point["name"],
            "mode": point["mode"],
            "bytes, layer by layer": units.bytes_text(point["layerwise_bytes"]),
            "of the memory roof": units.share_text(point["layerwise_bytes_per_s"] / rate),
        }
        for point in points
        if point["layerwise_bytes"]
    ]


def _spec(row: Mapping[str, Any]) -> dict[str, str]:
    names = ("kernel", "direction", "arch", "dtype", "layout", "shape")
    return {name: str(row[name]) for name in names if name in row} | {"k": str(row["kernel_size"])}


def _widths(found: Sequence[int]) -> str:
    return f"{'/'.join(map(str, found))} B" if found else units.MISSING


def _filled(rows: Shown) -> Shown:
    kept = [name for name in (rows[0] if rows else {}) if any(row[name] not in ("", units.MISSING) for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]


def _short(statement: str) -> str:
    return statement if len(statement) <= STATEMENT_COLUMNS else statement[: STATEMENT_COLUMNS - 3] + "..."
