"""Hold every backend to the same promises, on one object and on one opened anew each time."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resumed.model import Done, Fault, Pending
from resumed.progress.errors import (
    JobDoesNotExist,
    JobEnded,
    JobExists,
    JobFailed,
    JobFault,
    LeaseLost,
    PartDoesNotExist,
    PartGivenUp,
    PartLeased,
    ProgressError,
    ProgressTypeError,
)
from resumed.progress.parts import Parts
from resumed.progress.states import (
    AlreadyDone,
    Ended,
    LastPart,
    Leased,
    Open,
    PartFailed,
    ReduceClaimed,
    ReduceDue,
    StillOpen,
)

# moto answers some ten to a hundred requests a second: it takes the numbers of the others a
# quarter of an hour a test, which PROGRESS_FULL asks for.
FULL = "PROGRESS_FULL" in os.environ
IN_ITS_TIME = pytest.mark.timeout(3600 if FULL else 120)
REASON = Fault("builtins.ValueError", "no such colour: 日本 \x00")
WHY = JobFault("builtins.OSError", "disk", "1", 2, 1_800_000_000.5)


def test_a_new_job_is_open_with_all_of_its_parts_pending(progress, create, clock):
    job = create("job", 3, metadata={"name": "x"})

    assert progress.job("job") == job
    assert (job.id, job.total, job.pending, job.done, job.failed, job.running) == (
        *("job", 3, 3, 0, 0, 0),
    )
    assert (job.state, job.percent) == (Open(), 0)
    assert (job.created_at, job.changed_at) == (clock.now, clock.now)
    assert [part.payload for part in progress.pending("job")] == [{"value": n} for n in range(3)]
    assert all(part.state == Pending() and not part.attempts for part in progress.pending("job"))


def test_the_last_part_is_answered_once_and_every_part_counts_once(progress, create):
    create("job", 3)

    assert progress.complete("job", "1") == StillOpen()
    assert progress.complete("job", "1") == AlreadyDone()
    assert progress.job("job").done == 1
    assert progress.complete("job", "0") == StillOpen()
    assert isinstance(progress.complete("job", "2"), LastPart)
    assert progress.complete("job", "2") == AlreadyDone()
    assert progress.complete("job", "0") == AlreadyDone()
    assert progress.job("job").percent == 100


def test_percent_is_rounded_down_so_that_all_means_all(progress, create):
    create("job", 101)

    for number in range(100):
        progress.complete("job", str(number))

    assert progress.job("job").percent == 99


def test_a_job_without_parts_is_due_at_once(progress, create):
    assert create("job", 0).state == ReduceDue()

    reduce = progress.claim_reduce("job")

    assert reduce is not None
    assert progress.claim_reduce("job") is None
    assert progress.confirm_reduce(reduce)
    assert progress.pending("job") == []


def test_a_reduce_is_claimed_then_confirmed_once(progress, create, clock):
    job = create("job", 1)

    answer = progress.complete("job", "0", seconds=10)

    assert isinstance(answer, LastPart)
    assert answer.reduce.key == job.key
    assert progress.job("job").state == ReduceClaimed(clock.now + 10)
    assert progress.confirm_reduce(answer.reduce)
    assert not progress.confirm_reduce(answer.reduce)
    assert progress.job("job").state == Ended(clock.now)
    assert progress.claim_reduce("job") is None


def test_an_unconfirmed_claim_is_given_again_after_its_lease_with_the_same_key(
    progress, create, clock
):
    create("job", 1)
    first = progress.complete("job", "0", seconds=10).reduce

    clock.now += 9.5
    assert progress.claim_reduce("job") is None
    assert progress.complete("job", "0") == AlreadyDone()
    clock.now += 1
    assert progress.job("job").state == ReduceDue()
    again = progress.complete("job", "0", seconds=10)

    assert isinstance(again, LastPart)
    assert again.reduce.key == first.key
    assert again.reduce.attempt == first.attempt + 1
    assert progress.claim_reduce("job") is None


def test_a_late_confirmation_counts_and_ends_the_job(progress, create, clock):
    create("job", 1)
    first = progress.complete("job", "0", seconds=10).reduce
    clock.now += 11
    second = progress.claim_reduce("job")

    assert progress.confirm_reduce(first)
    assert not progress.confirm_reduce(second)
    clock.now += 100
    assert progress.claim_reduce("job") is None


def test_a_released_claim_is_due_at_once_but_not_if_it_is_anothers(progress, create):
    create("job", 1)
    first = progress.complete("job", "0", seconds=10).reduce

    progress.release_reduce(first)
    second = progress.claim_reduce("job")
    progress.release_reduce(first)

    assert second is not None
    assert progress.claim_reduce("job") is None


def test_a_claim_that_was_never_made_confirms_nothing(progress, create):
    create("job", 1)
    create("other", 1)
    other = progress.complete("other", "0").reduce
    progress.complete("job", "0")

    stranger = type(other)("job", other.key, 1, other.until_at)

    assert not progress.confirm_reduce(stranger)
    assert isinstance(progress.job("job").state, ReduceClaimed)


def test_an_attempt_has_its_part_to_itself_until_the_lease_runs_out(progress, create, clock):
    create("job", 2)

    lease = progress.begin("job", "1", seconds=10)

    assert (lease.attempt, lease.until_at, lease.payload) == (1, clock.now + 10, {"value": 1})
    assert progress.part("job", "1").state == Leased(clock.now + 10)
    assert (progress.job("job").running, progress.job("job").pending) == (1, 1)
    assert [part.id for part in progress.pending("job")] == ["0"]
    with pytest.raises(PartLeased) as refused:
        progress.begin("job", "1")
    assert refused.value.until_at == clock.now + 10
    assert progress.part("job", "1").attempts == 1


def test_a_dead_workers_part_comes_back_and_its_attempt_counts(progress, create, clock):
    create("job", 1)
    dead = progress.begin("job", "0", seconds=10)

    clock.now += 10.5
    part = progress.part("job", "0")
    assert (part.state, part.attempts, part.fault.kind) == (Pending(), 1, "crashed")
    assert [part.id for part in progress.pending("job")] == ["0"]
    assert progress.job("job").running == 0
    lease = progress.begin("job", "0", seconds=10)

    assert lease.attempt == 2
    assert progress.part("job", "0").fault == Fault("crashed", "the lease of attempt 1 ran out")
    with pytest.raises(LeaseLost):
        progress.extend(dead)
    with pytest.raises(LeaseLost):
        progress.fail(dead, REASON)
    with pytest.raises(LeaseLost):
        progress.give_up(dead, REASON)
    assert progress.part("job", "0").state == Leased(clock.now + 10)


def test_a_lease_lasts_as_long_as_it_is_extended(progress, create, clock):
    create("job", 1)
    lease = progress.begin("job", "0", seconds=10)

    for _ in range(3):
        clock.now += 8
        lease = progress.extend(lease, seconds=10)

    assert lease.until_at == clock.now + 10
    assert progress.part("job", "0").state == Leased(clock.now + 10)
    assert progress.part("job", "0").attempts == 1


def test_a_failed_attempt_gives_the_part_back_with_its_reason(progress, create):
    create("job", 1)

    progress.fail(progress.begin("job", "0"), REASON)

    part = progress.part("job", "0")
    assert (part.state, part.attempts, part.fault) == (Pending(), 1, REASON)
    lease = progress.begin("job", "0")
    assert lease.attempt == 2
    with pytest.raises(LeaseLost):
        progress.fail(type(lease)("job", "0", 1, 0, None), REASON)
    assert progress.part("job", "0").fault == REASON


def test_a_part_is_done_with_its_result_time_and_attempts(progress, create, clock):
    create("job", 2)
    progress.fail(progress.begin("job", "1"), REASON)
    progress.begin("job", "1")
    clock.now += 5

    progress.complete("job", "1", {"hits": [1, 2.5, None, True, "é"]})

    part = progress.part("job", "1")
    assert part.state == Done({"hits": [1, 2.5, None, True, "é"]}, clock.now)
    assert part.attempts == 2
    assert progress.job("job").changed_at == clock.now
    assert progress.begin("job", "1") == AlreadyDone()
    assert (progress.job("job").running, progress.job("job").pending) == (0, 1)


def test_the_first_result_stays(progress, create):
    create("job", 1)

    progress.complete("job", "0", "first")
    progress.complete("job", "0", "second")

    assert list(progress.results("job")) == [("0", "first")]


def test_results_come_in_the_order_of_the_parts(progress, create):
    create("job", 12)

    for number in (11, 3, 7, 0):
        progress.complete("job", str(number), number)

    assert list(progress.results("job")) == [("0", 0), ("3", 3), ("7", 7), ("11", 11)]


def test_a_part_that_failed_for_good_keeps_the_job_open(progress, create, clock):
    create("job", 2)
    clock.now += 1

    assert progress.give_up(progress.begin("job", "0"), REASON) == StillOpen()
    assert progress.complete("job", "1") == StillOpen()

    job = progress.job("job")
    assert (job.state, job.failed, job.pending, job.changed_at) == (Open(), 1, 0, clock.now)
    (part,) = progress.failures("job")
    assert (part.id, part.state, part.attempts, part.fault) == ("0", PartFailed(), 1, REASON)
    assert progress.claim_reduce("job") is None
    with pytest.raises(PartGivenUp):
        progress.begin("job", "0")


def test_a_retry_takes_up_failed_parts_and_goes_on_counting(progress, create):
    create("job", 2)
    progress.give_up(progress.begin("job", "0"), REASON)
    progress.complete("job", "1")

    assert progress.retry("job") == 1
    assert progress.retry("job") == 0

    assert progress.failures("job") == []
    assert [part.id for part in progress.pending("job")] == ["0"]
    assert progress.begin("job", "0").attempt == 2
    assert isinstance(progress.complete("job", "0"), LastPart)


def test_a_part_that_failed_for_good_may_still_be_completed(progress, create):
    create("job", 2)
    progress.complete("job", "0")
    progress.give_up(progress.begin("job", "1"), REASON)

    assert isinstance(progress.complete("job", "1"), LastPart)
    assert progress.job("job").failed == 0


def test_tolerated_failures_do_not_hold_the_reduce_up(progress, create):
    create("job", 3, tolerate=1)

    progress.complete("job", "0")
    progress.complete("job", "2")
    answer = progress.give_up(progress.begin("job", "1"), REASON)

    assert isinstance(answer, LastPart)
    assert progress.confirm_reduce(answer.reduce)
    assert progress.job("job").failed == 1


def test_more_failures_than_tolerated_hold_it_up(progress, create):
    create("job", 3, tolerate=1)

    for part in ("0", "1"):
        progress.give_up(progress.begin("job", part), REASON)

    assert progress.complete("job", "2") == StillOpen()
    assert progress.job("job").state == Open()


def test_a_failed_job_says_why_and_has_no_reduce(progress, create):
    create("job", 2)

    progress.fail_job("job", WHY)
    progress.fail_job("job", JobFault("later", "", None, 1, 0.0))

    assert progress.job("job").state == WHY
    with pytest.raises(JobFailed) as refused:
        progress.begin("job", "0")
    assert refused.value.fault == WHY
    assert progress.complete("job", "0") == StillOpen()
    assert progress.complete("job", "1") == StillOpen()
    assert progress.claim_reduce("job") is None
    assert progress.job("job").done == 2


def test_the_holder_of_a_lease_learns_that_the_job_failed(progress, create):
    create("job", 2)
    lease = progress.begin("job", "0")

    progress.fail_job("job", WHY)

    with pytest.raises(JobFailed):
        progress.extend(lease)


def test_a_retried_job_goes_on_and_its_reduce_is_due_when_all_is_done(progress, create):
    create("job", 2)
    progress.complete("job", "0")
    progress.fail_job("job", WHY)
    progress.complete("job", "1")

    assert progress.retry("job") == 0

    assert progress.job("job").state == ReduceDue()
    assert progress.claim_reduce("job") is not None


def test_a_job_whose_reduce_is_under_way_or_done_neither_fails_nor_is_retried(
    progress, create, clock
):
    create("job", 1)
    reduce = progress.complete("job", "0", seconds=10).reduce

    for _ in ("claimed", "confirmed"):
        with pytest.raises(JobEnded):
            progress.fail_job("job", WHY)
        with pytest.raises(JobEnded):
            progress.retry("job")
        progress.confirm_reduce(reduce)
        clock.now += 100
    assert isinstance(progress.job("job").state, Ended)


def test_an_unknown_job_is_named_and_leaves_no_ghost(progress):
    asks = [
        lambda: progress.job("ghost"),
        lambda: progress.describe("ghost", {"a": 1}),
        lambda: progress.part("ghost", "0"),
        lambda: progress.pending("ghost"),
        lambda: progress.failures("ghost"),
        lambda: list(progress.results("ghost")),
        lambda: progress.begin("ghost", "0"),
        lambda: progress.complete("ghost", "0"),
        lambda: progress.fail_job("ghost", WHY),
        lambda: progress.retry("ghost"),
        lambda: progress.claim_reduce("ghost"),
        lambda: progress.delete("ghost"),
    ]

    for ask in asks:
        with pytest.raises(JobDoesNotExist, match="ghost"):
            ask()
    assert progress.jobs() == []


@pytest.mark.parametrize("part", ["2", "-1", "01", "0.0", "", " 0", "٣", "x", "9" * 30, "1e0"])
def test_an_unknown_part_is_named_and_changes_nothing(progress, create, part):
    before = create("job", 2)

    for ask in (progress.begin, progress.complete, progress.part):
        with pytest.raises(PartDoesNotExist):
            ask("job", part)

    assert progress.job("job") == before
    assert len(progress.pending("job")) == 2


def test_an_id_is_refused_while_its_job_is_kept_and_shares_nothing_afterwards(progress, create):
    first = create("job", 3, metadata={"old": 1})
    progress.complete("job", "0", "old")
    progress.begin("job", "1")
    progress.fail_job("job", WHY)
    with pytest.raises(JobExists):
        create("job", 1)
    assert progress.job("job").total == 3

    progress.delete("job")
    with pytest.raises(JobDoesNotExist):
        progress.job("job")
    second = create("job", 2)

    assert second.key != first.key
    assert (second.state, second.done, second.running, second.metadata) == (Open(), 0, 0, {})
    assert list(progress.results("job")) == []
    assert progress.begin("job", "1").attempt == 1


def test_many_that_create_one_job_leave_one_whole_job(backend):
    def attempt(number):
        with Parts({"by": number} for _ in range(number + 1)) as parts:
            try:
                return backend.open().create("job", parts).total
            except JobExists:
                return None

    with ThreadPoolExecutor(4) as pool:
        created = [total for total in pool.map(attempt, range(4)) if total]

    assert len(created) == 1
    progress = backend.open()
    assert progress.job("job").total == created[0]
    found = [part.payload for part in progress.pending("job")]
    assert found == [{"by": created[0] - 1}] * created[0]


@IN_ITS_TIME
def test_four_deliveries_of_the_last_part_send_one_reduce(backend):
    """The library that this replaces sent up to four, with a sender that takes 20 ms."""
    progress = backend.open()
    jobs = [
        f"job-{number}" for number in range(20 if backend.kind == "dynamodb" and not FULL else 200)
    ]
    sent = []

    def deliver(job):
        answer = progress.complete(job, "1")
        if isinstance(answer, LastPart):
            time.sleep(0.02)  # the sender
            sent.append(job)
            assert progress.confirm_reduce(answer.reduce)

    for job in jobs:
        with Parts({} for _ in range(2)) as parts:
            progress.create(job, parts)
        progress.complete(job, "0")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deliver, [job for job in jobs for _ in range(4)]))

    assert sorted(sent) == sorted(jobs)
    assert all(isinstance(job.state, Ended) for job in progress.jobs(limit=1000))


COMPLETE_ALL = """
first, total, step = map(int, sys.argv[2:])
last = 0
for start in range(first, total, 20 * step):
    with progress.group():
        for number in range(start, min(start + 20 * step, total), step):
            last += type(progress.complete("job", str(number))).__name__ == "LastPart"
print(last)
"""


@IN_ITS_TIME
@pytest.mark.parametrize("step", [4, 1], ids=["each a quarter", "each all of them"])
def test_four_processes_see_one_last_part(backend, step):
    total = 8000 if step == 4 else 2000
    if backend.kind == "dynamodb" and not FULL:
        total = 100
    with Parts({} for _ in range(total)) as parts:
        backend.open().create("job", parts)

    workers = [
        backend.process(COMPLETE_ALL, str(first if step > 1 else 0), str(total), str(step))
        for first in range(4)
    ]
    said = [worker.communicate()[0].strip() for worker in workers]

    assert sorted(said) == ["0", "0", "0", "1"]
    job = backend.open().job("job")
    assert (job.done, type(job.state)) == (total, ReduceClaimed)


def test_parts_may_have_names_in_place_of_numbers(progress, create):
    names = ["a/b", "é", "0", "x" * 200, "#"]
    create("job", [{"sku": name, "n": n} for n, name in enumerate(names)], id_field="sku")

    assert [part.id for part in progress.pending("job")] == names
    assert progress.part("job", "0").number == 2
    with pytest.raises(PartDoesNotExist):
        progress.complete("job", "1")
    assert progress.begin("job", "é").payload == {"sku": "é", "n": 1}
    for name in names[:-1]:
        assert progress.complete("job", name, name) == StillOpen()
    assert isinstance(progress.complete("job", "#", "#"), LastPart)
    assert list(progress.results("job")) == [(name, name) for name in names]


def test_metadata_keeps_its_types_merges_and_touches_nothing_else(progress, create):
    given = {"total": "many", "failed": True, "key": None, "n": 1, "f": 0.1, "deep": {"a": [1, {}]}}
    create("job", 1, metadata=given)

    progress.describe("job", {"n": 2, "until": "tomorrow", "#é :x": []})
    progress.describe("job", {})
    progress.confirm_reduce(progress.complete("job", "0").reduce)

    job = progress.job("job")
    assert job.metadata == {**given, "n": 2, "until": "tomorrow", "#é :x": []}
    assert type(job.metadata["n"]) is int
    assert (job.total, type(job.state)) == (1, Ended)


def test_large_payloads_and_results_are_kept(progress, create):
    large = "x" * 200_000
    create("job", [{"text": large}, {"text": "small"}, {"text": large + "!"}])

    progress.complete("job", "2", large)

    assert progress.begin("job", "0").payload == {"text": large}
    assert [part.payload for part in progress.pending("job")] == [{"text": "small"}]
    assert list(progress.results("job")) == [("2", large)]


def test_metadata_that_is_too_large_together_is_refused_in_words(progress, create):
    """Embedded, the record of 1 MiB raised a plain ValueError."""
    much = {f"name {n}": "x" * 200_000 for n in range(6)}

    with pytest.raises(ProgressTypeError, match="metadata: is 1200"):
        create("job", 1, metadata=much)
    assert progress.jobs() == []
    before = create("job", 1)
    with pytest.raises(ProgressTypeError, match="metadata: is 1200"):
        progress.describe("job", much)
    assert progress.job("job") == before


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), "x" * 300_000])
def test_what_is_not_json_is_refused_before_anything_is_written(progress, create, value):
    with pytest.raises(ProgressTypeError):
        create("job", [{"fine": 1}, {"value": value}])
    with pytest.raises(ProgressTypeError):
        create("job", 1, metadata={"value": value})
    assert progress.jobs() == []

    before = create("job", 1)
    with pytest.raises(ProgressTypeError):
        progress.complete("job", "0", value)
    with pytest.raises(ProgressTypeError):
        progress.describe("job", {"value": value})
    assert progress.job("job") == before


@pytest.mark.parametrize("job_id", ["a-metadata", "../up", "a b", "é#:", "日本", "{resumed}", "."])
def test_any_text_can_name_a_job(progress, create, job_id):
    create(job_id, 1)

    assert [job.id for job in progress.jobs()] == [job_id]
    assert isinstance(progress.complete(job_id, "0"), LastPart)
    progress.delete(job_id)
    assert progress.jobs() == []


@pytest.mark.parametrize("job_id", ["", "x" * 300, None, 1.5, "\udc80"])
def test_what_cannot_name_a_job_is_refused(progress, create, job_id):
    with pytest.raises(ProgressTypeError):
        create(job_id, 1)

    assert progress.jobs() == []


def test_jobs_are_listed_sorted_and_by_page(progress, create):
    names = [f"job-{number:02}" for number in (5, 3, 9, 1, 7)]
    for name in names:
        create(name, 1)

    first = progress.jobs(limit=2)
    rest = progress.jobs(after=first[-1].id)

    assert [job.id for job in first + rest] == sorted(names)
    assert progress.jobs(after="job-09") == []


def test_pending_and_failed_parts_are_listed_sorted_and_by_page(progress, create):
    create("job", 2100)
    for number in (0, 5, 1000, 2099):
        progress.complete("job", str(number))
    for number in (6, 1001):
        progress.give_up(progress.begin("job", str(number)), REASON)

    listed = []
    while page := progress.pending("job", after=listed[-1] if listed else -1, limit=700):
        assert len(page) <= 700
        listed += [part.number for part in page]

    assert listed == sorted(set(range(2100)) - {0, 5, 6, 1000, 1001, 2099})
    assert [part.number for part in progress.failures("job")] == [6, 1001]
    assert [part.number for part in progress.failures("job", after=6, limit=1)] == [1001]
    assert [number for number, _ in progress.results("job")] == ["0", "5", "1000", "2099"]
    job = progress.job("job")
    assert (job.total, job.done, job.failed, job.pending) == (2100, 4, 2, 2094)


def test_every_refusal_is_one_family():
    for refusal in (JobDoesNotExist, JobFailed, JobExists, JobEnded, PartLeased, LeaseLost):
        assert issubclass(refusal, ProgressError)
        assert issubclass(refusal, RuntimeError)
    assert issubclass(ProgressTypeError, TypeError)
