"""Records that the tracking store has yet to take, on disk, in the order in which they happened."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from search.disk import is_full
from search.errors import TrackingError

KINDS = frozenset(
    (
        *("status", "start", "built", "epoch", "end", "rows"),
        *("repeat", "refit", "baseline", "study", "text"),
    )
)
"""What a record can be of."""
REPAIRS = frozenset(("rows", "status"))
"""Those that find room in a spool that is full: they make good what was left out, and are few."""
Record: TypeAlias = Mapping[str, Any]
"""One thing that happened: its ``kind``, and what is known of it. JSON."""


def spool_path(folder: Path, study: str) -> Path:
    """Name the file in which a study's records wait for the tracking store.

    Args:
        folder: The storage folder.
        study: The study's name.

    Returns:
        The file; it is there while something waits.
    """
    return folder / "spool" / f"{study}.jsonl"


class Spool:
    """An append-only file of records, and how far it was delivered.

    Whoever writes a record finds it again after any crash: it is on disk when ``append`` returns. Where
    one was left out the file stays, empty, so that the next launch repairs what lacks it.
    A line that a crash cut short was never promised to anybody and is cut off.

    Attributes:
        left: The records of an earlier launch that were not delivered, each with its end in the
            file, in bytes.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open a spool, or make one.

        Args:
            path: The file; what was delivered is noted beside it.
            max_bytes: How much may wait at once.

        Raises:
            TrackingError: If the file holds something else.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._left_out = False
        self._note = path.with_suffix(".delivered")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._delivered = self._read_note()
        self.left = self._read_left()

    def append(self, record: Record) -> int:
        """Write a record to disk.

        Args:
            record: What happened.

        Returns:
            Its end in the file, in bytes; 0 if it was left out, since as much waits as may.

        Raises:
            OSError: If the disk does not take it; the file is as it was.
        """
        line = json.dumps(record).encode() + b"\n"
        start = os.fstat(self._file.fileno()).st_size
        full = start + len(line) - self._delivered > self._max_bytes
        if full and record["kind"] not in REPAIRS:
            self._left_out = True
            return 0
        try:
            self._write(line)
        except OSError:
            self._file.truncate(start)
            raise
        return start + len(line)

    def note_delivered(self, end: int) -> None:
        """Note that the store has taken every record up to an end in the file.

        Not synced, and left out while the disk is full: a record that is delivered twice changes
        nothing.
        """
        self._delivered = end
        try:
            self._note.write_text(str(end))
        except OSError as exc:
            if not is_full(exc):
                raise

    def close(self) -> None:
        """Close the file, and remove it if all of it was delivered and nothing left out."""
        if self._delivered >= os.fstat(self._file.fileno()).st_size:
            self._note.unlink(missing_ok=True)  # first: alone it would be taken for another file's
            if self._left_out:
                self._file.truncate(0)
            else:
                self.path.unlink()
        self._file.close()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:  # a disk that fills up takes a part
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())

    def _read_note(self) -> int:
        try:
            return int(self._note.read_text())
        except (FileNotFoundError, ValueError):  # a crash left it empty: deliver all again
            return 0

    def _read_left(self) -> list[tuple[Record, int]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        if self._delivered > whole:  # a note of another file
            self._delivered = 0
            self._note.unlink(missing_ok=True)
        left: list[tuple[Record, int]] = []
        end = self._delivered
        for line in content[self._delivered : whole].splitlines(keepends=True):
            end += len(line)
            left.append((self._read(line), end))
        return left

    def _read(self, line: bytes) -> Record:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or record.get("kind") not in KINDS:
            self._file.close()
            raise TrackingError(
                f"The records that wait for the tracking store must be whole. Received: {self.path}, "
                f"with a line that is none: {line[:60]!r}. Move that file away and launch again: "
                f"Optuna's record of the study is whole, and MLflow will lack curves."
            )
        return record
