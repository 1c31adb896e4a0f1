from __future__ import annotations

from packc.cli.traffic import say_traffic


def test_clients_or_a_rate() -> None:
    assert say_traffic(1, 0.0) == "1 client"
    assert say_traffic(8, 0.0) == "8 clients"
    assert say_traffic(1, 50.0) == "50 requests/s"
