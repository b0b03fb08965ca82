"""Numbers as people read them: ``1,204``, ``40.2 MB``, ``1m23s``, ``12 ms``."""

_SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def count(number: int) -> str:
    """Write a count with separators: ``1,204``."""
    return f"{number:,}"


def size(number: float) -> str:
    """Write a number of bytes with three digits or so: ``40.2 MB``."""
    for unit, name in _SIZES:
        # What would round up to 1000 of a unit is one of the next.
        if number >= unit * 0.99995:
            return f"{number / unit:,.1f} {name}"
    return f"{number:.0f} B"


def span(seconds: float) -> str:
    """Write a duration to the second: ``48s``, ``1m23s``, ``2h05m``, ``3d04h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def latency(seconds: float) -> str:
    """Write a short duration with two or three digits: ``850 us``, ``12 ms``, ``1.24 s``."""
    if seconds < 0.000_999_5:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 0.999_5:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    return span(seconds)


def rate(per_second: float) -> str:
    """Write a rate: ``812/s``, ``3.4/s``, and for the slow ``12/min``."""
    if per_second >= 9.95:
        return f"{per_second:,.0f}/s"
    if per_second >= 0.5 or per_second == 0:
        return f"{per_second:.1f}/s"
    return f"{per_second * 60:.1f}/min"


def percent(share: float) -> str:
    """Write a share of 1; all and nothing are only said where they are exact."""
    text = f"{share * 100:.0f}%"
    if text == "100%" and share < 1:
        return ">99%"
    return "<1%" if text == "0%" and share > 0 else text


def columns(rows: list[list[str]], left: int = 1) -> list[str]:
    """Align rows of cells: the first ``left`` columns to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
