"""Reads segments of recordings from parquet files, by the columns and row groups they need; says what is amiss."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from consilience.domains.eeg.montage import CHANNELS, REGIONS, SAMPLING_RATE, SPECTROGRAM_BANDS, feature_name
from consilience.domains.eeg.signals import bins_of
from consilience.errors import ConsilienceError, listed
from consilience.parquet_files import UNREADABLE, unreadable

TIME = "time"
COLUMN = re.compile(rf"({'|'.join(REGIONS)})_(.*)")
LISTED = 30  # of a file's columns, in messages
# What the four temporal channels are called since 1991.
TODAY = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}


class UnusableError(ConsilienceError):
    """A recording, or a segment of it, that cannot be used; `reason` says why in the words of the audit."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Recording:
    """A parquet file whose rows are read by range; the row groups of the last range are kept.

    Memory is that of the row groups which a range overlaps. Use it as a context manager, or `close` it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = pq.ParquetFile(path)
        except FileNotFoundError as error:
            raise UnusableError(f"{path}: no such file", "missing file") from error
        except UNREADABLE as error:
            raise self.unreadable(error) from error
        metadata = self.file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(rows)]).astype(int)
        self.columns: list[str] = []
        self.groups: dict[int, np.ndarray] = {}

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def close(self) -> None:
        """Close the file and forget what was read."""
        self.groups = {}
        self.file.close()

    def unreadable(self, error: Exception) -> UnusableError:
        """Return what to raise for a file that cannot be read."""
        return UnusableError(unreadable(self.path, error), "unreadable file")

    def check_columns(self, columns: list[str]) -> None:
        """Refuse columns that repeat or do not hold numbers."""
        schema = self.file.schema_arrow
        counts, kinds = Counter(schema.names), dict(zip(schema.names, schema.types, strict=True))
        for name in columns:
            if counts[name] > 1:
                raise UnusableError(f"{self.path}: the column {name} repeats; expected it once", "wrong columns")
            kind = kinds[name]
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise UnusableError(f"{self.path}: the column {name} holds {kind}; expected numbers", "wrong columns")

    def listing(self) -> str:
        """Return the names of the file's columns, of very many the first."""
        return listed(self.file.schema_arrow.names, LISTED)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop of the chosen columns, (columns, rows); what is null is NaN."""
        wanted = np.flatnonzero((self.starts[:-1] < stop) & (self.starts[1:] > start)).tolist()
        # First forgotten, then read: memory never holds more than the row groups of one range.
        self.groups = {group: values for group, values in self.groups.items() if group in wanted}
        for group in wanted:
            if group not in self.groups:
                self.groups[group] = self.read(group, self.columns)
        parts = [
            self.groups[group][:, max(0, start - self.starts[group]) : stop - self.starts[group]] for group in wanted
        ]
        return np.concatenate(parts, axis=1)

    def read(self, group: int, columns: list[str]) -> np.ndarray:
        """Return the values (columns, rows) of a row group."""
        try:
            table = self.file.read_row_group(group, columns=columns)
        except UNREADABLE as error:
            raise self.unreadable(error) from error
        return np.stack([table.column(name).to_numpy() for name in columns])


class Eeg(Recording):
    """An EEG at 200 Hz, in microvolts, with the 19 channels of the 10-20 system and any other columns beside them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        missing = [name for name in CHANNELS if name not in self.file.schema_arrow.names]
        if missing:
            raise UnusableError(
                f"{path}: no channel {', '.join(missing)}; it has {self.listing()}; expected {', '.join(CHANNELS)}"
                f"{self.renamed(missing)}",
                "missing channels",
            )
        self.columns = list(CHANNELS)
        self.check_columns(self.columns)

    def renamed(self, missing: Sequence[str]) -> str:
        """Say which of the missing channels have their names of today."""
        pairs = [f"{TODAY[name]} is {name}" for name in missing if TODAY.get(name) in self.file.schema_arrow.names]
        return f" ({', '.join(pairs)}: rename it)" if pairs else ""

    def segment(self, offset: float, seconds: float) -> np.ndarray:
        """Return what was recorded from `offset` for so many seconds, (channels, samples) in microvolts.

        A segment has seconds * 200 samples, the first of them round(offset * 200). Raises UnusableError where the
        recording is too short, the segment ends beyond it, or a channel has no value in it.
        """
        count, start = round(seconds * SAMPLING_RATE), round(offset * SAMPLING_RATE)
        if len(self) < count:
            raise UnusableError(
                f"{self.path}: {len(self):,} samples; "
                f"expected at least {count:,}: {_told(seconds)} s at {SAMPLING_RATE} Hz",
                "too short",
            )
        if start + count > len(self):
            raise UnusableError(
                f"{self.path}: the segment from {_told(offset)} to {_told(offset + seconds)} s ends beyond the "
                f"recording, whose {len(self):,} samples are {_told(len(self) / SAMPLING_RATE)} s",
                "beyond the recording",
            )
        values = self.rows(start, start + count)
        silent = ~np.isfinite(values).any(axis=1)
        if silent.any():
            names = ", ".join(name for name, own in zip(CHANNELS, silent, strict=True) if own)
            raise UnusableError(
                f"{self.path}: no value of {names} from {_told(offset)} to {_told(offset + seconds)} s",
                "channel without a value",
            )
        return values


class Spectrogram(Recording):
    """A spectrogram: a `time` in seconds, and the power at frequencies of four regions, `<region>_<hertz>`.

    `times` (rows,) float64 are those of all rows. `bins` are places among the columns that are read, by region and
    band, as lists of int arrays.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if TIME not in self.file.schema_arrow.names:
            raise UnusableError(f"{path}: no column {TIME}; it has {self.listing()}", "wrong columns")
        self.columns, self.bins = self._chosen()
        self.check_columns([TIME, *self.columns])
        groups = range(self.file.num_row_groups)
        self.times = np.concatenate([np.zeros(0), *(self.read(group, [TIME])[0] for group in groups)])
        self._check_times()

    def segment(self, offset: float, seconds: float, window: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows from `offset` for so many seconds: times after the offset (rows,), power (columns, rows).

        Raises UnusableError where the last `window` seconds have no row at all, since the segment then ends beyond the
        recording, and for a negative power.
        """
        end = offset + seconds
        if self.times[-1] < end - window:
            raise UnusableError(
                f"{self.path}: the segment from {_told(offset)} to {_told(end)} s ends beyond the spectrogram, "
                f"whose last row is at {_told(self.times[-1])} s; expected one in the last {_told(window)} s",
                "beyond the recording",
            )
        start, stop = np.searchsorted(self.times, [offset, end]).tolist()
        if start == stop:
            raise UnusableError(
                f"{self.path}: no row from {_told(offset)} to {_told(end)} s; expected power", "no spectrogram value"
            )
        times, power = self.times[start:stop], self.rows(start, stop)
        negative = power < 0
        if negative.any():
            row, column = np.argwhere(negative.T)[0]
            raise UnusableError(
                f"{self.path}: {self.columns[column]} is {power[column, row]:.6g} at {_told(times[row])} s; "
                "expected power of 0 or more",
                "negative power",
            )
        return times - offset, power

    def _chosen(self) -> tuple[list[str], list[list[np.ndarray]]]:
        """Return the columns that bands read, and their places by region and band; refuses where there are none."""
        found = [match for name in self.file.schema_arrow.names if (match := COLUMN.fullmatch(name))]
        frequencies = np.asarray([self._frequency(match) for match in found])
        regions = np.asarray([match[1] for match in found])
        bands = bins_of(frequencies, SPECTROGRAM_BANDS)
        chosen = np.flatnonzero(np.any(list(bands.values()), axis=0))
        bins = [
            [np.flatnonzero((regions == region)[chosen] & band[chosen]) for band in bands.values()]
            for region in REGIONS
        ]
        missing = [
            region if not any(map(len, own)) else feature_name(region, band)
            for region, own in zip(REGIONS, bins, strict=True)
            for band, places in zip(bands, own, strict=True)
            if not len(places)
        ]
        if missing:
            low, high = (
                min(low for low, _ in SPECTROGRAM_BANDS.values()),
                max(high for _, high in SPECTROGRAM_BANDS.values()),
            )
            raise UnusableError(
                f"{self.path}: no bin of {', '.join(dict.fromkeys(missing))}; it has {self.listing()}; "
                f"expected <region>_<Hz> from {_told(low)} to {_told(high)} Hz for {', '.join(REGIONS)}",
                "wrong columns",
            )
        return [found[place][0] for place in chosen], bins

    def _frequency(self, match: re.Match[str]) -> float:
        try:
            frequency = float(match[2])
        except ValueError:
            frequency = np.nan
        if not np.isfinite(frequency):
            raise UnusableError(f"{self.path}: the column {match[0]}; expected {match[1]}_<Hz>", "wrong columns")
        return frequency

    def _check_times(self) -> None:
        if not len(self.times):
            raise UnusableError(f"{self.path}: no row; expected power over time", "too short")
        bad = np.flatnonzero(~np.isfinite(self.times))
        if len(bad):
            raise UnusableError(f"{self.path}: {TIME} has no value in row {bad[0] + 1}", "time does not rise")
        falls = np.flatnonzero(np.diff(self.times) <= 0)
        if len(falls):
            before, after = self.times[falls[0] : falls[0] + 2]
            raise UnusableError(
                f"{self.path}: {TIME} does not rise: {_told(before)} s, then {_told(after)} s in row {falls[0] + 2}",
                "time does not rise",
            )


def _told(seconds: float) -> str:
    return f"{seconds:.10g}"
