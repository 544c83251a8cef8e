import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search.driver.tracking.forwarder import (
    FULL,
    Forwarder,
    Lost,
    Refused,
    Unreachable,
    merge_epochs,
)
from search.driver.tracking.spool import Record, Spool

MIB = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "har.jsonl"


def open_forwarder(
    path: Path, deliver: Callable[[Record], None], max_bytes: int = MIB
) -> Forwarder:
    return Forwarder(Spool(path, max_bytes), deliver, longest_pause=0.01)


@contextmanager
def held_back() -> Iterator[tuple[list[int], Callable[[Record], None]]]:
    """A store that takes its first record only when the block is left."""
    open_again = threading.Event()
    arrived: list[int] = []

    def deliver(record: Record) -> None:
        open_again.wait()
        arrived.append(record["n"])

    try:
        yield arrived, deliver
    finally:
        open_again.set()


def test_records_arrive_in_the_order_in_which_they_were_sent(path: Path) -> None:
    arrived: list[int] = []
    forwarder = open_forwarder(path, lambda record: arrived.append(record["n"]))
    for number in range(100):
        forwarder.send({"kind": "start", "n": number})

    assert forwarder.close() == ()
    assert arrived == list(range(100))
    assert not path.exists()


def test_sending_does_not_wait_for_the_store(path: Path) -> None:
    with held_back() as (arrived, deliver):
        forwarder = open_forwarder(path, deliver)
        forwarder.send({"kind": "start", "n": 0})
        forwarder.send({"kind": "start", "n": 1})
        assert arrived == []

    assert forwarder.close() == ()
    assert arrived == [0, 1]


def test_a_record_is_tried_again_until_the_store_is_back(path: Path) -> None:
    tries: list[int] = []

    def deliver(record: Record) -> None:
        tries.append(record["n"])
        if len(tries) < 4:
            raise Unreachable("away")

    forwarder = open_forwarder(path, deliver)
    forwarder.send({"kind": "start", "n": 0})
    forwarder.send({"kind": "start", "n": 1})

    assert forwarder.close() == ()
    assert tries == [0, 0, 0, 0, 1]


def test_a_refused_record_is_named_and_the_others_arrive(path: Path) -> None:
    arrived: list[int] = []

    def deliver(record: Record) -> None:
        if record["n"] == 0:
            raise Refused("the run was deleted")
        arrived.append(record["n"])

    forwarder = open_forwarder(path, deliver)
    forwarder.send({"kind": "start", "n": 0})
    forwarder.send({"kind": "start", "n": 1})

    assert forwarder.close() == (
        Lost(record={"kind": "start", "n": 0}, reason="the run was deleted"),
    )
    assert arrived == [1]


def test_what_closing_gives_up_on_waits_for_the_next_launch(path: Path) -> None:
    def fail(record: Record) -> None:
        raise Unreachable("connection refused")

    forwarder = open_forwarder(path, fail)
    forwarder.send({"kind": "start", "n": 0})
    forwarder.send({"kind": "start", "n": 1})
    lost = forwarder.close(patience_seconds=0.0)
    assert [(one.record, one.kept) for one in lost] == [
        ({"kind": "start", "n": 0}, True),
        ({"kind": "start", "n": 1}, True),
    ]

    arrived: list[int] = []
    again = open_forwarder(path, lambda record: arrived.append(record["n"]))
    again.send({"kind": "start", "n": 2})
    assert again.close() == ()
    assert arrived == [0, 1, 2]


def test_what_no_room_was_left_for_is_named(path: Path) -> None:
    with held_back() as (arrived, deliver):
        forwarder = open_forwarder(path, deliver, max_bytes=60)
        for number in range(3):
            forwarder.send({"kind": "start", "n": number})

    assert forwarder.close() == (Lost(record={"kind": "start"}, reason=FULL),)
    assert arrived == [0, 1]


def test_a_bug_in_a_delivery_is_raised_by_close(path: Path) -> None:
    forwarder = open_forwarder(path, lambda record: record["missing"])
    forwarder.send({"kind": "start", "n": 0})

    with pytest.raises(KeyError, match="missing"):
        forwarder.close()


def epoch(number: int, epoch: int) -> Record:
    return {"kind": "epoch", "number": number, "report": {"epoch": epoch}}


def test_epochs_that_wait_go_in_one_and_nothing_of_a_trial_is_overtaken() -> None:
    end = {"kind": "end", "number": 1}
    study = {"kind": "study"}
    records = [epoch(1, 0), epoch(2, 0), epoch(1, 1), study, epoch(1, 2), end, epoch(1, 3)]
    assert merge_epochs(records) == [
        {**epoch(1, 0), "more": [epoch(1, 1), epoch(1, 2)]},
        {**epoch(2, 0), "more": []},
        study,
        end,
        {**epoch(1, 3), "more": []},
    ]


def test_no_more_go_in_one_than_mlflow_takes() -> None:
    merged = merge_epochs([epoch(1, number) for number in range(100)])
    assert [1 + len(one["more"]) for one in merged] == [41, 41, 18]


def test_each_of_those_that_went_in_one_is_lost_with_it(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def deliver(record: Record) -> None:
        begun.set()
        go_on.wait()
        if record["kind"] == "epoch":
            raise Refused("no such run")

    forwarder = open_forwarder(path, deliver)
    forwarder.send({"kind": "study"})
    begun.wait()  # the others wait together
    for number in range(3):
        forwarder.send(epoch(1, number))
    go_on.set()
    lost = forwarder.close()
    assert [item.record["report"]["epoch"] for item in lost] == [0, 1, 2]
    assert not path.exists()
