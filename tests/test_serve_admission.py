"""Who is let in: as many as can be answered in time."""

from __future__ import annotations

import pytest

from tellapart.errors import SettingsError
from tellapart.serve.admission import Admission
from tellapart.serve.refusals import Refusal
from tellapart.serve.settings import Access, Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_queue_is_bounded(clock: Clock) -> None:
    admission = Admission(4, 10, clock=clock)
    with admission.admitted(3):
        assert admission.n == 3
        with pytest.raises(Refusal, match="3 of 4 places") as refused, admission.admitted(2):
            pass
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "1")
        with admission.admitted(1):
            assert not admission.has_room()
    assert admission.n == 0


def test_one_large_request_is_taken_when_nothing_else_is_under_way(clock: Clock) -> None:
    admission = Admission(4, 10, clock=clock)
    with admission.admitted(100):
        assert admission.n == 100


def test_what_could_not_be_answered_in_time_is_refused(clock: Clock) -> None:
    """Ten pictures took five seconds, half a second each; 60 % of ten seconds are six, which is twelve pictures."""
    admission = Admission(1000, 10, clock=clock)
    with admission.admitted(10):
        clock.now += 5
    assert admission.seconds == pytest.approx(0.5)
    with admission.admitted(8):
        assert admission.wait_s() == pytest.approx(4)
        assert admission.has_room(4)
        with pytest.raises(Refusal, match="within 10 s"), admission.admitted(5):
            pass


def test_speed_does_not_count_rest(clock: Clock) -> None:
    admission = Admission(1000, 10, clock=clock)
    for _ in range(3):
        with admission.admitted(1):
            clock.now += 0.2
        clock.now += 100
    assert admission.seconds == pytest.approx(0.2)


def test_speed_is_that_of_all_who_wait_together(clock: Clock) -> None:
    """The fourth of four pictures waited a second, so that one takes a quarter."""
    admission = Admission(1000, 10, clock=clock)
    with admission.admitted(3), admission.admitted(1):
        clock.now += 1
    assert admission.seconds == pytest.approx(0.9 * 1 / 4 + 0.1 * 1 / 3)


def test_what_was_not_answered_says_nothing_of_speed(clock: Clock) -> None:
    admission = Admission(1000, 10, clock=clock)
    with pytest.raises(ZeroDivisionError), admission.admitted(5):
        raise ZeroDivisionError
    assert admission.n == 0
    assert admission.seconds is None


def test_full_lasts_from_the_first_refusal_until_there_is_room(clock: Clock) -> None:
    admission = Admission(1, 10, clock=clock)
    with admission.admitted(1):
        for _ in range(2):
            with pytest.raises(Refusal):
                admission.check()
            clock.now += 1
        assert admission.full_s() == 2
    assert admission.full_s() == 0


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [("max_body_bytes", 10, "--max-body"), ("deadline_s", 0, "--deadline"), ("queue", 0, "--queue")],
)
def test_limits_have_ranges(name: str, value: float, option: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{option} must be from .*; got .*\. Try {option}"):
        Limits(**{name: value})


@pytest.mark.parametrize("origin", ["*", "example.org", "https://*.example.org", "https://example.org/page", "ftp://a"])
def test_origins_are_of_one_host(origin: str) -> None:
    with pytest.raises(SettingsError, match="--allow-origin must be"):
        Access(origins=(origin,))


@pytest.mark.parametrize("key", ["short", "with space", "größer-als-acht"])
def test_keys_are_long_and_plain(key: str) -> None:
    with pytest.raises(SettingsError, match="8 ASCII characters") as refused:
        Access(api_key=key)
    assert key not in str(refused.value)
