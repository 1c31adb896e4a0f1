from __future__ import annotations

import pytest

from packc.serving.limit import MOST_PROBES, KeptLoad, find_kept_load, guess_kept_load
from packc.serving.queue import LoadFigures


class Server:
    """Answers with a latency that grows with the load: 2 ms a client."""

    def __init__(self) -> None:
        self.probes: list[float] = []

    def __call__(self, load: float) -> LoadFigures:
        self.probes.append(load)
        return LoadFigures(100.0, load, 2 * load)


@pytest.mark.parametrize("guess", [1, 5, 7, 0, 100])
@pytest.mark.parametrize(("budget_ms", "kept"), [(10, 5.0), (11, 5.0), (2, 1.0), (15, 7.0)])
def test_the_most_clients_are_found_from_any_guess(guess: float, budget_ms: float, kept: float) -> None:
    server = Server()
    found = find_kept_load(server, 8, guess, budget_ms, counts=True)
    assert found == KeptLoad(kept, LoadFigures(100.0, kept, 2 * kept))
    assert len(server.probes) == len(set(server.probes)) <= 4
    assert all(load == int(load) and 1 <= load < 8 for load in server.probes)


def test_nothing_is_kept() -> None:
    assert find_kept_load(Server(), 8, 4, 1.0, counts=True) is None
    assert find_kept_load(Server(), 1, 1, 1.0, counts=True) is None, "there is no load below one client"


def test_a_good_guess_is_cheap() -> None:
    server = Server()
    find_kept_load(server, 8, 7, 14.0, counts=True)
    assert server.probes == [7]


def test_rates_are_found_to_a_share_of_what_was_asked() -> None:
    server = Server()
    found = find_kept_load(server, 1000.0, 500.0, 1301.0, counts=False)
    assert found is not None
    assert 600 <= found.load <= 650.5
    assert len(server.probes) <= MOST_PROBES


def test_a_guess_comes_from_predictions() -> None:
    assert guess_kept_load(Server(), 64, 20.0, counts=True) == 10.0
    assert guess_kept_load(Server(), 64, 1.0, counts=True) == 0.0
    assert guess_kept_load(lambda load: None, 64, 20.0, counts=True) == 32.0
