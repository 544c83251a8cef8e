import math
import resource
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from search.driver.tracking.spool import Spool

MIB = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "har.jsonl"


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 150 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left(path: Path) -> list[int]:
    with closing(Spool(path, MIB)) as spool:
        return [record["number"] for record, _ in spool.left]


def write(path: Path, *numbers: int) -> list[int]:
    """Write records and leave them undelivered; return their ends."""
    with closing(Spool(path, MIB)) as spool:
        return [spool.append({"kind": "start", "number": number}) for number in numbers]


def test_what_was_written_and_not_delivered_is_left(path: Path) -> None:
    with closing(Spool(path, MIB)) as spool:
        ends = [
            spool.append({"kind": "start", "number": number, "loss": math.inf})
            for number in range(3)
        ]
        spool.note_delivered(ends[0])

    with closing(Spool(path, MIB)) as again:
        assert again.left == [
            ({"kind": "start", "number": n, "loss": math.inf}, ends[n]) for n in (1, 2)
        ]


def test_what_comes_later_stands_behind_what_is_left(path: Path) -> None:
    write(path, 0)
    write(path, 1)
    assert left(path) == [0, 1]


def test_nothing_stays_once_all_is_delivered(path: Path) -> None:
    spool = Spool(path, MIB)
    spool.note_delivered(spool.append({"kind": "start", "number": 0}))
    spool.close()
    assert list(path.parent.iterdir()) == []


def test_what_waits_stays_after_closing(path: Path) -> None:
    write(path, 0)
    assert left(path) == [0]


@pytest.mark.parametrize("cut", range(1, 31))
def test_a_line_that_a_crash_cut_short_is_cut_off(path: Path, cut: int) -> None:
    write(path, 0, 1)
    path.write_bytes(path.read_bytes()[:-cut])

    write(path, 2)
    assert left(path) == [0, 2]


@pytest.mark.parametrize("note", ["", "99999", "half"])
def test_without_a_readable_note_all_is_delivered_again(path: Path, note: str) -> None:
    write(path, 0)
    path.with_suffix(".delivered").write_text(note)
    assert left(path) == [0]


def test_no_more_waits_than_may_and_delivery_makes_room(path: Path) -> None:
    with closing(Spool(path, 70)) as spool:
        first = spool.append({"kind": "start", "number": 0})
        assert spool.append({"kind": "start", "number": 1}) > first
        assert spool.append({"kind": "start", "number": 2}) == 0
        spool.note_delivered(first)
        assert spool.append({"kind": "start", "number": 3}) > 0
    assert left(path) == [1, 3]


def test_what_was_left_out_leaves_the_file_so_that_it_is_repaired(path: Path) -> None:
    spool = Spool(path, 70)
    ends = [spool.append({"kind": "start", "number": number}) for number in range(3)]
    assert ends[2] == 0
    repair = spool.append({"kind": "rows", "rows": ["x" * 100]})
    assert repair > ends[1]
    spool.note_delivered(repair)
    spool.close()
    assert (path.read_bytes(), path.with_suffix(".delivered").exists()) == (b"", False)
    again = Spool(path, 70)
    assert again.left == []
    again.close()
    assert not path.exists()


def test_a_crash_between_the_removals_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(path, MIB)
    spool.note_delivered(spool.append({"kind": "start", "number": 0}))
    unlink, removed = Path.unlink, []

    def crash(one: Path, missing_ok: bool = False) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(one)
        unlink(one, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            spool.close()
    spool._file.close()
    assert len(removed) == 1
    write(path, 1, 2)
    assert left(path)[-2:] == [1, 2]


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_whole_lines(path: Path) -> None:
    with closing(Spool(path, MIB)) as spool:
        for number in range(2):
            spool.append({"kind": "start", "number": number, "text": "x" * 15})
        with pytest.raises(OSError, match="File too large"):
            spool.append({"kind": "start", "number": 2, "text": "x" * 15})
    assert left(path) == [0, 1]
