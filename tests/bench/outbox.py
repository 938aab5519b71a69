"""The rows that are to be sent: how they are made, asked for and marked, and the messages that they become. Pure."""

from tests.bench.load import type_of

MARK = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :id"
_NUMBERS = {
    "postgresql": "generate_series(1, {count}) AS n(id)",
    "mariadb": "(SELECT seq AS id FROM seq_1_to_{count}) AS n",
    "sqlite": "(WITH RECURSIVE s(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM s WHERE id < {count})"
    " SELECT id FROM s) AS n",
}


def create(kind: str, count: int) -> list[str]:
    """Return statements that make the table `outbox` with so many rows."""
    moment = type_of(kind, "timestamp")
    return [
        "DROP TABLE IF EXISTS outbox",
        "CREATE TABLE outbox (id integer NOT NULL PRIMARY KEY, device varchar(40), site varchar(40), channel integer,"
        f" value numeric(12,4), at {moment}, sent_at {moment} NULL)",
        "INSERT INTO outbox (id, device, site, channel, value, at) SELECT id, 'pump-00007',"
        " 'hall 7, line 3, station 12', id % 16, 21.5, '2026-11-24 03:02:11.123456'"
        f" FROM {_NUMBERS[kind].format(count=count)}",
    ]


def query(unsent: bool) -> str:
    only = " WHERE sent_at IS NULL ORDER BY id" if unsent else ""
    return f"SELECT id, device, site, channel, value, at FROM outbox{only}"


def body(number: int) -> str:
    """Return the message that a row becomes."""
    return (
        f'{{"id":{number},"device":"pump-00007","site":"hall 7, line 3, station 12","channel":{number % 16},'
        '"value":21.5000,"at":"2026-11-24T03:02:11.123456"}'
    )
