"""Numbers formatted for people to read."""


def show_bytes(count: int) -> str:
    """Format a number of bytes.

    Example:
      >>> show_bytes(1536)
      '1.5 KiB'
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
