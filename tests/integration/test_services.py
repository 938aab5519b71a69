"""The services that all other tests stand on."""

import os
import select
import socket
import subprocess
import sys
import urllib.error

import psycopg
import pymysql
import pyodbc
import pytest

from connectorlib.shared_settings import BrokerSettings
from tests.services.server import Run, Server, free_port, members
from tests.services.waiting import eventually


def connection_string(database):
    values = {
        key: f"{{{value.replace('}', '}}')}}}" if key == "Pwd" else value for key, value in database.connection.items()
    }
    return ";".join(f"{key}={value}" for key, value in values.items())


def can_connect(server):
    try:
        socket.create_connection((server.host, server.port), timeout=2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_a_fresh_database_that_its_odbc_driver_reaches(database, turn):
    database.execute("CREATE TABLE part (id integer PRIMARY KEY, name varchar(50))")
    link = pyodbc.connect(connection_string(database), autocommit=True)
    link.execute("INSERT INTO part VALUES (1, 'bolt 5%')")
    link.close()
    assert database.rows("SELECT id FROM part WHERE name = ?", "bolt 5%") == [(1,)]
    assert database.count("part") == 1


def test_the_looking_side_reads_exact_values_without_odbc(postgres_db, maria_db):
    for database in (postgres_db, maria_db):
        database.execute("CREATE TABLE reading (at timestamp(6) NULL, name varchar(20))")
        database.execute("INSERT INTO reading VALUES ('2026-01-02 03:04:05.123456', ?)", "\U0001f600 100%")
        at, name = database.rows("SELECT at, name FROM reading")[0]
        assert (at.microsecond, name) == (123456, "\U0001f600 100%")


def test_a_message_published_is_in_its_queue(vhost):
    vhost.declare_queue("readings", "devices", ["reading.#", "alarm.*"])
    assert vhost.publish("devices", "reading.1", [b"raw", "text", {"id": 1}], content_type="text/plain") == 3
    vhost.publish("devices", "alarm.1", ("last", {"message_id": "m-1", "headers": {"site": "b"}}))
    assert vhost.depth("readings") == 4
    taken = vhost.get_all("readings")
    assert [body for _, _, body in taken] == [b"raw", b"text", b'{"id": 1}', b"last"]
    assert taken[0][1].content_type == "text/plain"
    assert (taken[3][1].message_id, taken[3][1].headers) == ("m-1", {"site": "b"})
    assert vhost.depth("readings") == 0


def test_publishing_to_nowhere_is_told(vhost):
    with pytest.raises(AssertionError, match="1 unroutable"):
        vhost.publish("amq.topic", "nobody.listens", "x")


def test_a_thousand_messages_arrive_in_order(vhost):
    vhost.declare_queue("many")
    vhost.publish("", "many", (str(number) for number in range(1500)))
    assert [int(body) for _, _, body in vhost.get_all("many")] == list(range(1500))


def test_virtual_hosts_do_not_see_each_other(rabbitmq, vhost):
    vhost.declare_queue("mine")
    with rabbitmq.vhost() as other:
        assert vhost.exists("mine")
        assert not other.exists("mine")


def test_the_management_api_answers(vhost):
    vhost.declare_queue("q", type="classic")
    assert [queue["name"] for queue in vhost.api("GET", "/api/queues/{vhost}")] == ["q"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        vhost.api("GET", "/api/queues/{vhost}/other")
    caught.value.close()
    assert caught.value.code == 404


def test_settings_of_a_virtual_host_are_what_the_connector_takes(vhost):
    settings = vhost.broker_settings(heartbeat=5)
    assert isinstance(settings, BrokerSettings)
    assert settings.hosts == ((vhost.config()["host"], vhost.config()["port"]),)
    assert (settings.virtual_host, settings.heartbeat) == (vhost.name, 5)


def test_a_broker_that_is_killed_keeps_what_it_confirmed(rabbitmq, vhost):
    vhost.declare_queue("kept")
    vhost.publish("", "kept", ["a", "b"])
    rabbitmq.kill()
    assert not can_connect(rabbitmq)
    rabbitmq.start()
    assert eventually(lambda: vhost.depth("kept") == 2)


def test_a_paused_server_keeps_connections_and_answers_nothing(postgres_db):
    session = postgres_db.connect()
    postgres_db.server.pause()
    session.pgconn.send_query(b"SELECT 1")
    assert select.select([session.pgconn.socket], [], [], 1.0)[0] == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=postgres_db.server.host, port=postgres_db.server.port, connect_timeout=2, user="app")
    postgres_db.server.resume()
    assert select.select([session.pgconn.socket], [], [], 10.0)[0] == [session.pgconn.socket]
    session.close()


def test_a_stopped_database_comes_back_with_its_rows(postgres_db, maria_db):
    for database in (postgres_db, maria_db):
        database.execute("CREATE TABLE part (id integer PRIMARY KEY)")
        database.execute("INSERT INTO part VALUES (7)")
        database.close()
        database.server.stop()
        assert not can_connect(database.server)
        database.server.start()
        assert database.rows("SELECT id FROM part") == [(7,)]


def test_a_wrong_password_is_refused(postgres_db, maria_db):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=postgres_db.server.port, user="app", password="no")
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        pymysql.connect(host="127.0.0.1", port=maria_db.server.port, user="app", password="no")


class Sleeper(Server):
    """A server that only sleeps, with a child in its group."""

    def commands(self):
        return [["sh", "-c", "sleep 300 & sleep 300"]]

    def is_ready(self):
        return True


RUN_AND_DIE = """
import os, signal, sys
from tests.integration.test_services import Run, Sleeper
run = Run()
sleeper = Sleeper(run)
sleeper.start()
print(sleeper._groups[0].pid, run.folder, flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_servers_end_with_the_run_however_it_ends(how):
    done = subprocess.run([sys.executable, "-c", RUN_AND_DIE, how], capture_output=True, text=True, timeout=60)
    group, folder = done.stdout.split()
    eventually(lambda: not os.path.exists(folder))
    assert not members(int(group))


def test_a_server_that_cannot_start_says_why():
    class Broken(Sleeper):
        def commands(self):
            return [["sh", "-c", "echo no space left; exit 3"]]

        def is_ready(self):
            return False

    with Run() as run, pytest.raises(RuntimeError, match=r"(?s)ended with 3.*no space left"):
        Broken(run).start()


def test_free_ports_lie_below_the_ephemeral_range():
    assert all(20_000 <= free_port() < 32_000 for _ in range(20))


def test_eventually_returns_the_value_or_tells_the_last_one():
    values = iter([0, 0, 5])
    assert eventually(lambda: next(values)) == 5
    with pytest.raises(AssertionError, match="last value: 0"):
        eventually(lambda: 0, timeout=0.05)
