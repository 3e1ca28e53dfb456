import os
import selectors
import signal
import threading

import pytest

from resumed.signals import Signals


@pytest.fixture
def signals():
    made = Signals()
    yield made
    made.close()


def readable(signals):
    with selectors.DefaultSelector() as selector:
        selector.register(signals.fd, selectors.EVENT_READ)
        return bool(selector.select(5))


def test_a_signal_wakes_and_is_named(signals):
    os.kill(os.getpid(), signal.SIGTERM)

    assert readable(signals)
    assert signals.take() == [signal.SIGTERM]
    assert signals.take() == []


def test_another_thread_wakes_without_a_signal(signals):
    thread = threading.Thread(target=signals.wake)
    thread.start()
    thread.join()

    assert readable(signals)
    assert signals.take() == []


def test_waking_never_blocks(signals):
    for _ in range(100_000):
        signals.wake()

    assert signals.take() == []


def test_the_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)

    Signals().close()

    assert signal.getsignal(signal.SIGTERM) is before
