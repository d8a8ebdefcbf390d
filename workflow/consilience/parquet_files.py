"""What readers of parquet files share: the errors that say a file cannot be read, and the line that tells of one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

UNREADABLE = (OSError, pa.ArrowException)


def unreadable(path: Path, error: Exception) -> str:
    """Return the line on a file that raised one of `UNREADABLE`."""
    return f"{path}: not a readable parquet file ({' '.join(str(error).split())})"
