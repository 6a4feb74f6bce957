"""How a number becomes text: the only place where seconds, bytes and throughputs are rounded."""

from __future__ import annotations

import math

MISSING = "-"

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
# Bounds this many times apart, as two rounds give them, have no third digit.
_WIDE = 3.0
_BELOW_ONE = _PREFIXES[4:]
_ABOVE_ONE = _PREFIXES[:5]


def is_missing(value: float | None) -> bool:
    """True for None, NaN and infinities: nothing that could be printed as a measured number."""
    return value is None or not math.isfinite(value)


def time_text(seconds: float | None, low: float | None = None, high: float | None = None) -> str:
    """A time with its interval: 0.0012345 -> "1.234 ms"; with bounds "1.234 ms (1.230-1.239)"."""
    return _scaled(seconds, low, high, "s", _BELOW_ONE)


def throughput_text(per_s: float | None, low: float | None = None, high: float | None = None) -> str:
    """Images a second with the interval: "2,413 img/s (2,401-2,425)"."""
    return _plain(per_s, low, high, " img/s")


def bandwidth_text(bytes_per_s: float | None, low: float | None = None, high: float | None = None) -> str:
    """Bytes a second, in powers of 1000: "3.210 TB/s"."""
    return _scaled(bytes_per_s, low, high, "B/s", _ABOVE_ONE)


def compute_text(flops_per_s: float | None, low: float | None = None, high: float | None = None) -> str:
    """Floating-point operations a second: "41.20 TFLOP/s"."""
    return _scaled(flops_per_s, low, high, "FLOP/s", _ABOVE_ONE)


def bytes_text(size: float | None) -> str:
    """A size in powers of 1000: "154.1 MB". A few bytes are whole: "28 B"."""
    if size is not None and not is_missing(size) and abs(size) < 1000 and size == int(size):
        return f"{int(size)} B"
    return _scaled(size, None, None, "B", _ABOVE_ONE)


def energy_text(joules: float | None, low: float | None = None, high: float | None = None) -> str:
    """Joules with the interval: "184.2 mJ"."""
    return _scaled(joules, low, high, "J", _BELOW_ONE)


def count_text(count: float | None, *, digits: int = 3) -> str:
    """A count of parameters, operations or points: "28.1 M", "4.20 G", "312"."""
    if count is not None and not is_missing(count) and abs(count) < 1000 and count == int(count):
        return str(int(count))
    return _scaled(count, None, None, "", _ABOVE_ONE, digits=digits)


def ratio_text(ratio: float | None, low: float | None = None, high: float | None = None) -> str:
    """A ratio of medians with its interval: "1.20x (1.19-1.21)"; as many decimals as tell the bounds apart."""
    if ratio is None or is_missing(ratio):
        return MISSING
    decimals = max(2, _decimals(ratio, 3))
    return _with_interval(ratio, low, high, decimals, "x")


def change_text(ratio: float | None, low: float | None = None, high: float | None = None) -> str:
    """A ratio as a change in per cent: 1.567 -> "+57 %", 0.964 -> "-3.6 %"; with bounds "+57 % (+56 to +58)"."""
    if ratio is None or is_missing(ratio):
        return MISSING
    changes = [100 * (bound - 1) for bound in (ratio, low, high) if bound is not None and not is_missing(bound)]
    decimals = 0 if abs(changes[0]) >= 9.95 else 1
    texts = [f"{change:+.{decimals}f}" for change in changes]
    return f"{texts[0]} %" + (f" ({texts[1]} to {texts[2]})" if len(texts) == 3 else "")


def share_text(share: float | None, low: float | None = None, high: float | None = None) -> str:
    """A share of a whole in per cent: 0.934 -> "93.4 %"."""
    if share is None or is_missing(share):
        return MISSING
    bounds = [None if bound is None or is_missing(bound) else 100 * bound for bound in (low, high)]
    return _with_interval(100 * share, bounds[0], bounds[1], 1, " %")


def spread_text(spread: float | None) -> str:
    """A standard deviation of logs, as per cent: 0.0042 -> "0.42 %"."""
    if spread is None or is_missing(spread):
        return MISSING
    return f"{100 * spread:.2f} %" if spread < 0.0995 else f"{100 * spread:.0f} %"


def interval_text(low: float | None, high: float | None, *, decimals: int = 2) -> str:
    """Two bounds alone: "1.19-1.21"; nothing where there are none (one round has no interval)."""
    if low is None or high is None or is_missing(low) or is_missing(high):
        return MISSING
    return f"{_fixed(low, decimals)}-{_fixed(high, decimals)}"


def duration_text(seconds: float | None) -> str:
    """A waiting time for people: "45 s", "3 min 20 s", "2 h 05 min"."""
    if seconds is None or is_missing(seconds):
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number_text(value: float | None, *, digits: int = 4) -> str:
    """A bare number with so many significant digits and commas between thousands: "12,345", "0.01234"."""
    if value is None or is_missing(value):
        return MISSING
    return _fixed(value, _decimals(value, digits))


def _scaled(
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    prefixes: tuple[tuple[float, str], ...],
    *,
    digits: int = 4,
) -> str:
    if value is None or is_missing(value):
        return MISSING
    scale, prefix = _prefix(value, prefixes, digits)
    number = value / scale
    bounds = [None if bound is None or is_missing(bound) else bound / scale for bound in (low, high)]
    suffix = f" {prefix}{unit}" if prefix or unit else ""
    return _with_interval(number, bounds[0], bounds[1], _decimals(number, digits), suffix)


def _plain(value: float | None, low: float | None, high: float | None, suffix: str) -> str:
    if value is None or is_missing(value):
        return MISSING
    return _with_interval(value, low, high, _decimals(value, 4), suffix)


def _prefix(value: float, prefixes: tuple[tuple[float, str], ...], digits: int) -> tuple[float, str]:
    if value == 0:
        return next(entry for entry in prefixes if entry[0] == 1.0)
    # 999.96 us prints as 1.000 ms: the prefix is chosen after rounding, not before.
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return next((entry for entry in prefixes if rounded >= entry[0]), prefixes[-1])


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return 0
    exponent = math.floor(math.log10(float(f"{abs(value):.{digits - 1}e}")))
    return min(12, max(0, digits - 1 - exponent))


def _with_interval(value: float, low: float | None, high: float | None, decimals: int, suffix: str) -> str:
    if low is None or high is None or is_missing(low) or is_missing(high):
        return _fixed(value, decimals) + suffix
    if high > _WIDE * abs(low):
        return f"{_fixed(value, decimals)}{suffix} ({_rough(low)}-{_rough(high)})"
    for more in range(4):
        texts = [_fixed(number, decimals + more) for number in (low, high)]
        if texts[0] != texts[1] or low == high:
            decimals += more
            break
    return f"{_fixed(value, decimals)}{suffix} ({_fixed(low, decimals)}-{_fixed(high, decimals)})"


def _rough(value: float) -> str:
    """Two digits: 0.0463 is "0.046", 2,041,818 is "2,000,000"."""
    return number_text(float(f"{value:.1e}"), digits=2)


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text
