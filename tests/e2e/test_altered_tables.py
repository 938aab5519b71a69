"""A column that is altered again and again while messages come costs no dead letter, and no value its digits."""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.e2e.conftest import Connector
from tests.services.waiting import eventually

ALTER = {
    "postgresql": "ALTER TABLE altered ALTER COLUMN v TYPE {0} USING v::{0}",
    "mariadb": "ALTER TABLE altered MODIFY v {0}",
}


@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_under_load_a_column_is_altered_in_both_directions(on: Callable[[str], Connector], name: str) -> None:
    connector = on(name)
    database = connector.database
    database.execute("CREATE TABLE altered (id integer NOT NULL PRIMARY KEY, v integer)")
    connector.configure(write=[{"statement": "INSERT INTO altered (id, v) VALUES (:id, :v)"}])
    sent = 0

    def publish(count: int, *forms: str) -> None:
        nonlocal sent
        numbers = range(sent, sent + count)
        connector.publish(*[f'{{"id": {n}, "v": {forms[n % len(forms)].format(n)}}}'.encode() for n in numbers])
        sent += count

    connector.vhost.declare_queue("readings")
    with connector.subscribed(), closing(database.connect()) as other:
        for type_name in ("numeric(20,3)", "bigint", "numeric(20,1)", "integer", "numeric(20,3)"):
            publish(1000, "{}", '"{}"', "{}.0")
            other.cursor().execute(ALTER[database.kind].format(type_name))
        publish(500, "{}.125", '"{}.5"')
        eventually(lambda: database.count("altered") == sent, 60)
    assert not connector.vhost.exists("dead-letter") or connector.dead() == []
    rows = {id: str(value) for id, value in database.rows("SELECT id, v FROM altered")}
    assert rows == {n: f"{n}.{('125', '500')[n % 2] if n >= 5000 else '000'}" for n in range(sent)}
