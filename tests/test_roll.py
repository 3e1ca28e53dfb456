import random

from resumed import roll
from resumed.roll import BAD, DONE, FAILED, PENDING, Roll

MOST_BYTES = 60


def filled(count, seed=1):
    chance = random.Random(seed)
    made = Roll()
    for _ in range(count):
        number = made.add(chance.getrandbits(64), chance.getrandbits(64))
        made.see(number, 100 * number)
    return made


def test_a_part_is_found_by_its_mark():
    made = filled(20_000)

    assert all(made.find(made.marks[number]) == number for number in range(20_000))
    assert made.find(12345) is None


def test_marks_that_collide_in_a_table_are_told_apart():
    made = Roll()
    numbers = [made.add(place << 40, 0) for place in range(200)]

    assert [made.find(place << 40) for place in range(200)] == numbers


def test_only_what_the_file_has_is_counted():
    made = Roll()
    seen, unseen = made.add(1, 1), made.add(2, 2)
    made.see(seen, 0)

    for number in (seen, unseen):
        made.turn(number, DONE)

    assert made.counts[DONE] == 1
    assert made.gone() == 1
    made.see(unseen, 50)
    assert (made.counts[DONE], len(made), made.gone()) == (2, 2, 0)


def test_a_part_that_says_something_else_is_pending_and_keeps_its_attempts():
    made = filled(1)
    made.attempts[0] = 3
    made.turn(0, FAILED)

    made.renew(0, 42)

    assert (made.states[0], made.contents[0], made.attempts[0]) == (PENDING, 42, 3)
    assert (made.counts[PENDING], made.counts[FAILED]) == (1, 0)


def test_all_of_a_state_are_found():
    made = filled(100)
    for number in (3, 50, 99):
        made.turn(number, BAD)

    assert list(made.of_state(BAD)) == [3, 50, 99]
    assert len(roll.STATES) == len(made.counts)


def test_a_pending_part_takes_at_most_sixty_bytes():
    for count in (25_000, 43_750, 62_500):
        assert filled(count).size_bytes() / count <= MOST_BYTES
