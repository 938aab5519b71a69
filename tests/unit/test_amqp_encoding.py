import pytest

from connectorlib.broker.encoding import HEADER_BYTES, encode_properties
from connectorlib.messages import Outgoing


def properties(**given):
    return encode_properties(Outgoing("x", "k", b"", given))


def test_a_message_is_always_persistent():
    assert properties(delivery_mode=1).delivery_mode == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"text": "x" * (HEADER_BYTES + 1)},
        {"text": "\N{PILE OF POO}" * (HEADER_BYTES // 4 + 1)},
        {f"h{number}": "x" * 100 for number in range(700)},
        {"deep": {"text": "x" * HEADER_BYTES}},
        {"list": ["x" * 1000] * 70},
    ],
    ids=["long", "wide characters", "many", "nested", "listed"],
)
def test_headers_that_would_cost_the_connection_are_refused(headers):
    with pytest.raises(ValueError, match="headers take"):
        properties(headers=headers)


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"a": 1, "b": None, "c": True}, {"text": "x" * (HEADER_BYTES - 100)}, {"list": [1, 2], "map": {"a": 1}}],
)
def test_other_headers_pass(headers):
    assert properties(headers=headers).headers == headers
