import socket

import pytest

from senet_viz.models.cluster import import_ray, join


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_ray_client_is_refused(monkeypatch, where):
    """Neither Ray Data nor results that come one by one go through it."""
    if where == "environment":  # which Ray takes where it is given no address
        monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ValueError, match=r"^a run cannot reach a cluster through Ray Client \(ray://…\): start it on a "
                                         r"machine of the cluster, with [^\n]*$"):
        import_ray("ray://head:10001" if where == "argument" else None)


def test_an_address_counts_more_than_the_environment(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert import_ray("head:6379", "data") is ray


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_an_address_where_nobody_answers_is_told_at_once(monkeypatch, where):
    """Ray asks again for minutes."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        if where == "environment":
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConnectionError, match=f"^no cluster answers at {address} "):
            join(None, address if where == "argument" else None)
