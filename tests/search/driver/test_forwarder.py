import threading

import pytest

from search.driver.tracking.forwarder import Forwarder, Lost, Refused, Unreachable


def test_records_arrive_in_the_order_in_which_they_were_sent() -> None:
    arrived: list[int] = []
    forwarder = Forwarder()
    for number in range(100):
        forwarder.send(str(number), lambda number=number: arrived.append(number))

    assert forwarder.close() == ()
    assert arrived == list(range(100))


def test_sending_does_not_wait_for_the_store() -> None:
    open_again = threading.Event()
    forwarder = Forwarder()
    forwarder.send("held", lambda: open_again.wait() and None)
    forwarder.send("behind it", lambda: None)

    open_again.set()

    assert forwarder.close() == ()


def test_a_record_is_tried_again_until_the_store_is_back() -> None:
    tries: list[str] = []

    def deliver() -> None:
        tries.append("try")
        if len(tries) < 4:
            raise Unreachable("away")

    forwarder = Forwarder(longest_pause=0.01)
    forwarder.send("epoch 0", deliver)
    forwarder.send("epoch 1", lambda: tries.append("next"))

    assert forwarder.close() == ()
    assert tries == ["try"] * 4 + ["next"]


def test_a_refused_record_is_named_and_the_others_arrive() -> None:
    arrived: list[str] = []

    def refuse() -> None:
        raise Refused("the run was deleted")

    forwarder = Forwarder()
    forwarder.send("epoch 0", refuse)
    forwarder.send("epoch 1", lambda: arrived.append("epoch 1"))

    assert forwarder.close() == (Lost(record="epoch 0", reason="the run was deleted"),)
    assert arrived == ["epoch 1"]


def test_closing_gives_up_on_a_store_that_stays_away_and_names_every_record() -> None:
    def fail() -> None:
        raise Unreachable("connection refused")

    forwarder = Forwarder(longest_pause=0.01, closing_seconds=0.0)
    forwarder.send("epoch 0", fail)
    forwarder.send("epoch 1", fail)

    assert [lost.record for lost in forwarder.close()] == ["epoch 0", "epoch 1"]


def test_a_bug_in_a_delivery_is_raised_by_close() -> None:
    forwarder = Forwarder()
    forwarder.send("epoch 0", lambda: {}["missing"])

    with pytest.raises(KeyError, match="missing"):
        forwarder.close()
