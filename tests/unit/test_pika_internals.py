import pytest
from pika.channel import Channel

from connectorlib.amqp import pika_internals


@pytest.mark.parametrize(("owner", "name"), pika_internals.USED)
def test_a_pika_without_a_name_is_refused(owner: type, name: str) -> None:
    without = type(owner.__name__, (), {})
    expected = rf"pika \S+ does not use {owner.__name__}\.{name}, .*: install pika>=1\.4,<1\.5"
    with pytest.raises(ImportError, match=expected):
        pika_internals.check([(without, name)])


def test_a_name_that_is_only_defined_is_not_used() -> None:
    with pytest.raises(ImportError, match=r"Channel\.basic_recover"):
        pika_internals.check([(Channel, "basic_recover")])
