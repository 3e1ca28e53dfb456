import threading

from resumed.hints import BURST_EVENTS, NAMES_KEPT, Heard, Hints


def test_what_is_heard_is_taken_once():
    heard = Heard(lambda: None)
    heard.birth((1, 2))
    heard.name("a")
    heard.name("b", (3, 4))
    heard.name("a")
    heard.request()
    heard.lost("trouble")
    heard.lost("more trouble", overflow=True)

    assert heard.take() == Hints(("a", "b"), ((1, 2), (3, 4)), True, True, True, "trouble")
    assert heard.take() == Hints()


def test_the_loop_is_woken_once_until_it_takes():
    woken = []
    heard = Heard(lambda: woken.append(1))
    heard.name("a")
    heard.name("b")
    heard.request()
    assert len(woken) == 1

    heard.take()
    heard.lost()

    assert len(woken) == 2


def test_a_birth_alone_wakes_nobody_and_is_kept_for_the_name():
    woken = []
    heard = Heard(lambda: woken.append(1))
    heard.birth((1, 2))
    assert not woken

    heard.name("a")

    assert heard.take().births == ((1, 2),)


def test_names_beyond_the_bound_become_the_advice_to_scan():
    heard = Heard(lambda: None)
    for number in range(NAMES_KEPT):
        heard.name(str(number))
        heard.birth((number, 0))
    heard.birth((NAMES_KEPT, 0))
    assert not heard.take().scan

    for number in range(NAMES_KEPT + 1):
        heard.name(str(number))
        heard.birth((number, 0))
    hints = heard.take()

    assert (len(hints.names), len(hints.births), hints.scan) == (NAMES_KEPT, NAMES_KEPT, True)


def test_a_burst_raises_the_suspicion_that_something_was_lost():
    heard = Heard(lambda: None)
    for number in range(2 * BURST_EVENTS):
        heard.count(number / 1000)
    assert not heard.take().scan

    for _ in range(BURST_EVENTS + 1):
        heard.count(1e6)

    assert heard.take().scan


def test_nothing_is_lost_between_threads():
    heard = Heard(lambda: None)
    names = [[f"{each}-{number}" for number in range(2000)] for each in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: [heard.name(name) for name in mine])
        for mine in names
    ]
    taken = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.extend(heard.take().names)
    taken.extend(heard.take().names)

    assert sorted(taken) == sorted(name for mine in names for name in mine)
