from __future__ import annotations

from dataclasses import replace

import pytest

from packc.measure.curve import CurvePoint, ServiceCurve
from packc.serving.queue import Batching, Load, ServiceTimes, fit_request_ms, predict_load

ONE = Batching(instances=1, threads=1, most=1, delay_ms=0.0, mixes_lengths=False, skips_padding=False)
EQUAL = (0,)


def make_times(*points: tuple[int, int | None, float]) -> ServiceTimes:
    """Steady times: (batch, sequence, milliseconds)."""
    return ServiceTimes(ServiceCurve(1, 1, tuple(CurvePoint(b, s, (ms,) * 3) for b, s, ms in points)))


TEN_MS = make_times((1, None, 10.0))
BATCHED = make_times((1, None, 10.0), (2, None, 12.0), (4, None, 16.0))
"""8 ms and 2 ms more a sample."""


def clients(count: int, lengths: tuple[int, ...] = EQUAL, batch: int = 1) -> Load:
    return Load(clients=count, rate_per_s=0.0, batch=batch, lengths=lengths)


def rate(per_s: float) -> Load:
    return Load(clients=1, rate_per_s=per_s, batch=1, lengths=EQUAL)


def test_one_client_sees_the_service_time() -> None:
    predicted = predict_load(TEN_MS, clients(1), ONE, 1, 0.0, 99)
    assert (predicted.p50_ms, predicted.latency_ms) == pytest.approx((10.0, 10.0))
    assert predicted.throughput_per_s == pytest.approx(100.0)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_clients_share_one_instance(count: int) -> None:
    predicted = predict_load(TEN_MS, clients(count), ONE, 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(100.0)
    assert predicted.p50_ms == pytest.approx(10.0 * count)


def test_instances_work_side_by_side() -> None:
    predicted = predict_load(TEN_MS, clients(4), replace(ONE, instances=2), 2, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(200.0)
    assert predicted.latency_ms == pytest.approx(20.0)


def test_instances_that_share_a_device_take_what_they_took_side_by_side() -> None:
    """One alone takes 10 ms, each of two at once 16."""
    shared = ServiceTimes(
        ServiceCurve(2, 1, (CurvePoint(1, None, (16.0,)),)), ServiceCurve(1, 1, (CurvePoint(1, None, (10.0,)),))
    )
    assert [shared.call_ms(1, 0, busy) for busy in (1, 2, 3)] == [10.0, 16.0, 16.0]
    two = replace(ONE, instances=2)
    assert predict_load(shared, clients(1), two, 8, 0.0, 99).latency_ms == pytest.approx(10.0)
    # the first of two calls that begin together finds the other instance idle
    assert predict_load(shared, clients(4), two, 8, 0.0, 99).throughput_per_s == pytest.approx(125.0, rel=0.01)


def test_instances_that_are_fed_overlap_what_a_request_costs_with_calls() -> None:
    """10 ms a call and 5 a request, which one instance spends in turn and two beside each other."""
    fed = replace(ONE, is_fed=True)
    assert predict_load(TEN_MS, clients(1), fed, 1, 5.0, 99).latency_ms == pytest.approx(15.0)
    assert predict_load(TEN_MS, clients(8), fed, 8, 5.0, 99).throughput_per_s == pytest.approx(1000 / 15)
    two = predict_load(TEN_MS, clients(8), replace(fed, instances=2), 8, 5.0, 99)
    assert two.throughput_per_s == pytest.approx(2000 / 15)
    assert fit_request_ms(TEN_MS, clients(8), fed, 8, 1000 / 12, 96.0) == pytest.approx(2.0, rel=0.01)


def test_requests_that_wait_are_batched() -> None:
    predicted = predict_load(BATCHED, clients(4), replace(ONE, most=4), 1, 0.0, 99)
    assert predicted.p50_ms == pytest.approx(12.0 + 12.0 + 4 - 2, abs=8)
    assert predicted.throughput_per_s > 1.5 * predict_load(BATCHED, clients(4), ONE, 1, 0.0, 99).throughput_per_s


def test_all_clients_in_one_batch_stay_in_it() -> None:
    """With a delay the first batch takes everyone, and they come back together."""
    predicted = predict_load(BATCHED, clients(4), replace(ONE, most=4, delay_ms=5.0), 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(4 / 0.016)
    assert predicted.latency_ms == pytest.approx(16.0)


@pytest.mark.parametrize("count", [900, 1000, 3000])
def test_more_clients_than_a_short_look_has_requests(count: int) -> None:
    """All answers come at the same moment, again and again."""
    plan = replace(ONE, most=4096, delay_ms=5.0)
    predicted = predict_load(TEN_MS, clients(count), plan, 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(count / 0.015)
    assert predicted.latency_ms == pytest.approx(15.0)


def test_batches_larger_than_a_short_look_has_requests() -> None:
    plan = replace(ONE, most=2048, instances=2)
    predicted = predict_load(TEN_MS, rate(1e6), plan, 2, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(2 * 2048 / 0.010, rel=0.3)


def test_a_delay_that_nobody_joins_is_lost() -> None:
    predicted = predict_load(BATCHED, clients(1), replace(ONE, most=4, delay_ms=5.0), 1, 0.0, 99)
    assert predicted.p50_ms == pytest.approx(15.0)


def test_lengths_share_a_batch_only_where_they_are_mixed() -> None:
    times = make_times((1, 10, 10.0), (2, 10, 10.0), (1, 20, 20.0), (2, 20, 20.0))
    load = clients(2, lengths=(10, 20))
    apart, together = replace(ONE, most=2, delay_ms=1.0), replace(ONE, most=2, delay_ms=1.0, mixes_lengths=True)
    assert predict_load(times, load, apart, 1, 0.0, 99).throughput_per_s < 75
    assert predict_load(times, load, together, 1, 0.0, 99).throughput_per_s == pytest.approx(100.0)
    packed = replace(together, skips_padding=True)
    assert predict_load(times, load, packed, 1, 0.0, 99).throughput_per_s == pytest.approx(2 / 0.015)


def test_a_front_may_cut_a_batch_into_calls() -> None:
    times = make_times((1, 10, 10.0), (2, 10, 10.0), (1, 20, 20.0), (2, 20, 20.0))
    plan = replace(
        ONE, most=2, delay_ms=1.0, mixes_lengths=True, cut=lambda lengths: [[i] for i in range(len(lengths))]
    )
    predicted = predict_load(times, clients(2, lengths=(10, 20)), plan, 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(2 / 0.030)


def test_lengths_may_be_padded_to_a_multiple() -> None:
    times = make_times((1, 10, 10.0), (1, 20, 20.0))
    plan = replace(ONE, length_multiple=16)
    assert predict_load(times, clients(1, lengths=(10,)), plan, 1, 0.0, 99).p50_ms == pytest.approx(16.0)


def test_requests_of_several_samples() -> None:
    predicted = predict_load(BATCHED, clients(1, batch=4), replace(ONE, most=4), 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(4 / 0.016)
    too_large = predict_load(BATCHED, clients(2, batch=4), replace(ONE, most=2), 1, 0.0, 99)
    assert too_large.throughput_per_s == pytest.approx(4 / 0.016)


def test_arrivals_wait_as_in_theory() -> None:
    """An M/D/1 queue at half its capacity: one request in two does not wait, few wait for three others."""
    quiet, busy = (predict_load(TEN_MS, rate(per_s), ONE, 1, 0.0, 99) for per_s in (1.0, 50.0))
    assert (quiet.p50_ms, quiet.throughput_per_s) == pytest.approx((10.0, 1.0), rel=0.15)
    assert 10.0 <= busy.p50_ms < 20.0 < busy.latency_ms < 60.0
    assert busy.throughput_per_s == pytest.approx(50.0, rel=0.1)


def test_arrivals_above_capacity_pile_up() -> None:
    predicted = predict_load(TEN_MS, rate(200.0), ONE, 1, 0.0, 99)
    assert predicted.throughput_per_s == pytest.approx(100.0, rel=0.02)
    assert predicted.latency_ms > 1000


def test_one_client_sees_the_whole_cost_of_a_request() -> None:
    for instances, threads in ((1, 1), (1, 2), (2, 1)):
        plan = replace(ONE, instances=instances, threads=threads)
        assert predict_load(TEN_MS, clients(1), plan, 2, 3.0, 99).p50_ms == pytest.approx(13.0)


@pytest.mark.parametrize(
    ("instances", "threads", "per_s"),
    [(2, 1, 2 / 0.0124), (1, 2, 1 / 0.0112), (1, 1, 1 / 0.010)],
)
def test_many_clients_get_what_the_cores_can_do(instances: int, threads: int, per_s: float) -> None:
    """A cost of 2.4 ms: taken from both instances, from half of the one, or from the core that is left."""
    plan = replace(ONE, instances=instances, threads=threads)
    assert predict_load(TEN_MS, clients(16), plan, 2, 2.4, 99).throughput_per_s == pytest.approx(per_s, rel=0.01)


def test_the_cores_that_are_left_can_be_too_few() -> None:
    assert predict_load(TEN_MS, clients(16), ONE, 2, 20.0, 99).throughput_per_s == pytest.approx(50.0, rel=0.01)


@pytest.mark.parametrize("load", [clients(1), clients(8), rate(40.0)])
def test_the_cost_of_a_request_is_found_again(load: Load) -> None:
    plan = replace(ONE, most=4)
    served = predict_load(BATCHED, load, plan, 1, 2.0, 99)
    found = fit_request_ms(BATCHED, load, plan, 1, served.throughput_per_s, served.p50_ms)
    again = predict_load(BATCHED, load, plan, 1, found, 99)
    assert again.throughput_per_s == pytest.approx(served.throughput_per_s, rel=0.02)
    assert again.p50_ms == pytest.approx(served.p50_ms, rel=0.05)


def test_a_server_faster_than_the_curve_has_no_cost() -> None:
    assert fit_request_ms(TEN_MS, clients(1), ONE, 1, 200.0, 5.0) == pytest.approx(0.0, abs=1e-2)


def test_times_between_and_beyond_the_measured_shapes() -> None:
    times = make_times((1, 10, 1.0), (1, 30, 3.0), (4, 10, 4.0), (4, 30, 12.0))
    assert times.call_ms(1, 20) == pytest.approx(2.0)
    assert times.call_ms(2, 10) == pytest.approx(2.0)
    assert times.call_ms(8, 10) == pytest.approx(8.0)
    assert times.call_ms(1, 40) == pytest.approx(4.0)
    assert times.call_ms(1, -100) > 0


def test_slow_calls_show_in_the_tail() -> None:
    times = ServiceTimes(ServiceCurve(1, 1, (CurvePoint(1, None, (10.0,) * 18 + (30.0,) * 2),)))
    predicted = predict_load(times, clients(1), ONE, 1, 0.0, 99)
    assert (predicted.p50_ms, predicted.latency_ms) == pytest.approx((10.0, 30.0))


def test_the_same_arguments_predict_the_same() -> None:
    times = ServiceTimes(ServiceCurve(1, 1, (CurvePoint(1, None, (9.0, 10.0, 14.0)),)))
    assert predict_load(times, rate(60), ONE, 1, 0.0, 99) == predict_load(times, rate(60), ONE, 1, 0.0, 99)
