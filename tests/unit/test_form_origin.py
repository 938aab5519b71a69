"""Which requests of a browser come from a page of ours."""

import pytest

from connectorlib.service.form_origin import is_foreign_form, is_strange_host


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "LOCALHOST", "[::1]:8090", "plant.example"])
def test_addresses_and_known_names_are_ours(host):
    assert not is_strange_host(host, {"localhost", "plant.example"})


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "localhost/x", "[::1"]
)
def test_other_names_are_not(host):
    assert is_strange_host(host)


@pytest.mark.parametrize(
    ("origin", "site", "foreign"),
    [
        ("http://127.0.0.1:8090", "same-origin", False),
        ("https://127.0.0.1:8090", None, False),  # behind a proxy with TLS
        (None, None, False),
        ("http://127.0.0.1:8091", "same-site", True),
        ("http://127.0.0.1:8091", None, True),
        ("null", None, True),
        ("", None, True),
        ("http://[", None, True),
        ("http://[::1", None, True),
        ("http://127.0.0.1:8090:1", None, True),
        ("//\u2100", None, True),  # which urlsplit refuses
        (None, "cross-site", True),
        (None, "same-site", True),
    ],
)
def test_a_form_comes_from_our_own_page(origin, site, foreign):
    assert is_foreign_form("127.0.0.1:8090", origin, site) is foreign
