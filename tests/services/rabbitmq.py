"""A private RabbitMQ node, and virtual hosts in it with what a test does to a broker: publish, look, take."""

import base64
import itertools
import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions

from connectorlib.shared_settings import BrokerSettings
from tests.services import token_server
from tests.services.certificates import Authority
from tests.services.server import Run, Server, answers, binary, free_port
from tests.services.waiting import eventually

#: A body (text, bytes, or something to be written as JSON), alone or with its properties by their AMQP names.
Message = Any
Channel = Any  # pika carries no types
Taken = tuple[Any, Any, bytes]  # Basic.Deliver, BasicProperties, body

USERNAME = "connector"
PASSWORD = "broker-pass/word;1"  # with characters that break a carelessly put together address


#: How often a channel looks whether its token is still good, and what is held too long: once a minute, if left to the
#: broker.
LOOK_MS = 1000
#: What Erlang calls it.
MEMORY_ALARM = "{resource_limit, memory, node()}"
PLUGINS = (
    "rabbitmq_management",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_consistent_hash_exchange",
)


class RabbitMQ(Server):
    """A node with its own name, cookie, ports and port mapper: it neither sees nor is seen by any other."""

    name = "rabbitmq"
    username = USERNAME
    password = PASSWORD
    start_timeout = 120.0

    def __init__(self, run: Run, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(run)
        self.management_port = free_port()
        self._mapper_port = free_port()
        self._distribution_port = free_port()
        self._numbers = itertools.count(1)
        #: The names of virtual hosts that tests have now.
        self._in_use: set[str] = set()
        self._write_files(settings or {})

    def commands(self) -> Sequence[Sequence[str]]:
        # Started here, the port mapper ends with the node; left to the node it would stay behind as a daemon.
        # Debian's /usr/sbin/rabbitmq-server changes user and folder; the one behind it leaves both alone.
        mapper = [binary("epmd"), "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        return [mapper, [binary("rabbitmq-server", "/usr/lib/rabbitmq/bin")]]

    def environment(self) -> Mapping[str, str]:
        folder = str(self.folder)
        return {
            "HOME": folder,  # of the Erlang cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self.folder.name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            # An idle node shares the machine: its schedulers sleep instead of spinning.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1}",
            "NOTIFY_SOCKET": "",
        }

    def is_ready(self) -> bool:
        # Version 0-9-1 is answered with a method frame on channel 0: Connection.Start.
        if not answers(self.host, self.port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"):
            return False
        try:
            self.api("GET", "/api/overview")
        except urllib.error.HTTPError as error:  # the management plugin starts after the listener
            error.close()
            return False
        except OSError:
            return False
        return True

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API and return its JSON; raise urllib.error.HTTPError for 4xx and 5xx."""
        request = urllib.request.Request(
            f"http://{self.host}:{self.management_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {_basic(USERNAME, PASSWORD)}", "Content-Type": "application/json"},
        )
        with _opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def tls_listener(self, authority: Authority, *others: str, client_certificate: bool) -> int:
        """Listen on one more port, with TLS and a certificate for this host and others; return the port. With
        `client_certificate` every client has to show one of the same authority."""
        port, own = free_port(), authority.issue(self.host, *others)
        verify = "{verify,verify_peer},{fail_if_no_peer_cert,true}" if client_certificate else "{verify,verify_none}"
        files = f'{{cacertfile,"{authority.ca}"}},{{certfile,"{own.cert}"}},{{keyfile,"{own.key}"}}'
        self.evaluate(f'rabbit_networking:start_ssl_listener({{"{self.host}", {port}}}, [{files},{verify}], 1)')
        return port

    def kill(self) -> None:
        """End it as a power cut does, once the quorum queues of the test have settled.

        RabbitMQ confirms the messages of a new quorum queue before the queue's own name is on disk (a dets file that
        is written about once a second); killed in between, it comes back with the queue but without its messages.
        """
        if self.running:
            eventually(self._has_written_queue_names)
        super().kill()

    def _has_written_queue_names(self) -> bool:
        # Not those of virtual hosts that an earlier test has left: nobody asks for their messages any more.
        here = (queue for queue in self.api("GET", "/api/queues") if queue["vhost"] in self._in_use)
        names = [f"{queue['vhost']}_{queue['name']}" for queue in here if queue.get("type") == "quorum"]
        written = b"".join(file.read_bytes() for file in self.folder.glob("data/**/quorum/**/names.dets"))
        missing = [name for name in names if name.encode() not in written]
        assert not missing, f"not on disk: {missing}"
        return True

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node (slow: it starts an Erlang of its own)."""
        done = subprocess.run(
            [binary("rabbitmqctl", "/usr/lib/rabbitmq/bin"), "-n", f"{self.folder.name}@localhost", *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression in this node and return its value as Erlang writes it; fail if it raises."""
        done = subprocess.run(
            [binary("erl_call", "/usr/lib/erlang/bin"), "-r", "-n", f"{self.folder.name}@localhost", "-e"],
            input=f"{expression}.\n",
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.startswith("{ok, "), f"{expression}: {done.stdout}"
        return done.stdout.removeprefix("{ok, ").removesuffix("}")

    def set_memory_alarm(self) -> None:
        """Have it read nothing from who publishes, until the alarm is cleared."""
        self.evaluate(f"rabbit_alarm:set_alarm({{{MEMORY_ALARM}, []}})")

    def clear_memory_alarm(self) -> None:
        self.evaluate(f"rabbit_alarm:clear_alarm({MEMORY_ALARM})")

    def limit_holding(self, most_ms: int = 1_800_000, look_ms: int = LOOK_MS) -> None:
        """Set how long a consumer may hold a message and how often a channel looks, for channels from now on."""
        values = {"consumer_timeout": most_ms, "channel_tick_interval": look_ms}
        self.evaluate(", ".join(f"application:set_env(rabbit, {key}, {value})" for key, value in values.items()))

    @contextmanager
    def vhost(self) -> Iterator["Vhost"]:
        """Make a fresh virtual host and delete it afterwards."""
        vhost = Vhost(self, f"v{next(self._numbers)}")
        self._in_use.add(vhost.name)
        self.api("PUT", f"/api/vhosts/{vhost.quoted}")
        self.api("PUT", f"/api/permissions/{vhost.quoted}/{USERNAME}", {"configure": ".*", "write": ".*", "read": ".*"})
        try:
            yield vhost
        finally:
            vhost.close()
            self._in_use.discard(vhost.name)
            if self.running:
                self.api("DELETE", f"/api/vhosts/{vhost.quoted}")

    def _write_files(self, settings: Mapping[str, object]) -> None:
        values: dict[str, object] = {
            "default_user": USERNAME,
            "default_pass": PASSWORD,
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self.management_port,
            "disk_free_limit.absolute": "50MB",
            "collect_statistics_interval": 1000,
            "log.console": "false",
            # Who is not known here logs in by certificate, or with a token of tests.services.token_server.
            "auth_mechanisms.1": "PLAIN",
            "auth_mechanisms.2": "AMQPLAIN",
            "auth_mechanisms.3": "EXTERNAL",
            "ssl_options.verify": "verify_peer",  # or no log-in by certificate is taken
            "auth_backends.1": "internal",
            "auth_backends.2": "rabbit_auth_backend_oauth2",
            "auth_oauth2.resource_server_id": token_server.RESOURCE,
            "auth_oauth2.default_key": "test",
            "auth_oauth2.signing_keys.test": self.folder / "tokens.pem",
            **settings,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in values.items())
        (self.folder / "rabbitmq.conf").write_text(lines)
        (self.folder / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        (self.folder / "tokens.pem").write_bytes(token_server.public_key())
        (self.folder / "rabbitmq-env.conf").write_text("")
        # How long a dead letter without a target waits for its next try (3 minutes, if left to the broker), and how
        # often a quorum queue says what is in it (every 5 seconds).
        times = {
            "channel_tick_interval": LOOK_MS,
            "dead_letter_worker_publisher_confirm_timeout": 2000,
            "quorum_tick_interval": 1000,
        }
        erlang = ", ".join(f"{{{key}, {value}}}" for key, value in times.items())
        (self.folder / "advanced.config").write_text(f"[{{rabbit, [{erlang}]}}].\n")


class Vhost:
    """A virtual host that a test has for itself."""

    def __init__(self, node: RabbitMQ, name: str) -> None:
        self.node = node
        self.name = name
        self.host = node.host
        self.port = node.port
        self.username = node.username
        self.password = node.password
        self._connection: Any = None

    @property
    def quoted(self) -> str:
        return urllib.parse.quote(self.name, safe="")

    # What a connector is told.

    def broker_settings(self, **overrides: Any) -> BrokerSettings:
        values: dict[str, Any] = {
            "hosts": ((self.host, self.port),),
            "virtual_host": self.name,
            "username": self.username,
            "password": self.password,
        }
        return BrokerSettings(**{**values, **overrides})

    def config(self, **overrides: Any) -> dict[str, Any]:
        """Return the `broker` section of a configuration file; an override that is None leaves a key out."""
        section = {
            "host": self.host,
            "port": self.port,
            "virtual_host": self.name,
            "username": self.username,
            "password": self.password,
            **overrides,
        }
        return {key: value for key, value in section.items() if value is not None}

    # What a test does.

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API; `{vhost}` in the path is this one."""
        return self.node.api(method, path.replace("{vhost}", self.quoted), body)

    def declare_queue(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str | Sequence[str] = "#",
        *,
        exchange_type: str = "topic",
        type: str = "quorum",
        arguments: Mapping[str, Any] | None = None,
        durable: bool = True,
    ) -> str:
        """Declare a queue; with an exchange, declare that too (unless it is a built-in one) and bind the two."""
        with self.channel() as channel:
            channel.queue_declare(queue, durable=durable, arguments={"x-queue-type": type, **(arguments or {})})
            if exchange and not exchange.startswith("amq."):
                channel.exchange_declare(exchange, exchange_type, durable=True)
            for key in [routing_key] if isinstance(routing_key, str) else routing_key:
                if exchange:
                    channel.queue_bind(queue, exchange, key)
        return queue

    def declare_exchange(self, exchange: str, type: str = "topic", **arguments: Any) -> None:
        with self.channel() as channel:
            channel.exchange_declare(exchange, type, durable=True, arguments=arguments)

    def publish(self, exchange: str, routing_key: str, messages: Message, **properties: Any) -> int:
        """Publish one message or a list or generator of them, persistent, and return when they are in their queues.

        A message is bytes, text, a dict (sent as JSON), or a pair of one of these and its properties; a list to be
        sent as one JSON body has to be encoded first. `properties` go to all of them. Fail for an unroutable one.
        """
        many = messages if isinstance(messages, list | Iterator) else [messages]
        returned: list[str] = []
        sent = 0
        with self.channel() as channel:
            channel.add_on_return_callback(lambda _c, method, _p, body: returned.append(f"{method} {body[:80]!r}"))
            channel.tx_select()
            for chunk in _chunks(many, 1000):
                for message in chunk:
                    body, own = _encoded(message)
                    whole = pika.BasicProperties(**{"delivery_mode": 2, **properties, **own})
                    channel.basic_publish(exchange, routing_key, body, whole, mandatory=True)
                channel.tx_commit()  # answered when every queue has them
                sent += len(chunk)
            self._connected().process_data_events(0)
        assert not returned, f"{len(returned)} unroutable, the first: {returned[0]}"
        return sent

    def get_all(self, queue: str) -> list[Taken]:
        """Take all messages out of a queue."""
        found: list[Taken] = []
        with self.channel() as channel:
            # By number, not until nothing comes for a while: on a busy machine that ends early.
            while left := _ready(channel, queue):
                for method, properties, body in channel.consume(queue, inactivity_timeout=30):
                    assert method is not None, f"{left} messages of {queue} did not come"
                    found.append((method, properties, body))
                    left -= 1
                    if not left or len(found) % 1000 == 0:  # a quorum queue has at most 2000 on their way
                        channel.basic_ack(method.delivery_tag, multiple=True)
                    if not left:
                        break
                channel.cancel()
        return found

    def depth(self, queue: str) -> int:
        """Return how many messages are ready in a queue (those that a consumer holds are not counted)."""
        with self.channel() as channel:
            return _ready(channel, queue)

    def exists(self, queue: str) -> bool:
        try:
            self.depth(queue)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return False
            raise
        return True

    def unsettled(self, queue: str) -> int:
        """Return how many messages consumers hold, as the management API says it (about a second late)."""
        found = self.api("GET", f"/api/queues/{{vhost}}/{urllib.parse.quote(queue, safe='')}")
        return int(found.get("messages_unacknowledged", 0))

    def close_connections(self) -> int:
        """Make the broker close every client connection to this virtual host except the test's own; return how many."""
        return self._connections('rabbit_networking:close_connection(Each, "Closed by the test")').count("ok")

    def connection_names(self) -> set[str]:
        """Return what those who are connected call themselves, except the test's own connection."""
        return set(re.findall(r'"(.+?)"', self._connections("binary_to_list(Name)")))

    def _connections(self, what: str) -> str:
        return self.node.evaluate(_CONNECTIONS.format(what=what, vhost=self.name, own=_OWN_NAME))

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """Open a channel on the test's own connection, which is made again when it was lost."""
        channel = self._open_channel()
        try:
            yield channel
        finally:
            if channel.is_open:
                channel.close()

    def close(self) -> None:
        if self._connection and self._connection.is_open:
            try:
                self._connection.close()
            except pika.exceptions.AMQPError:
                self._connection = None

    def _open_channel(self) -> Channel:
        try:
            return self._connected().channel()
        except pika.exceptions.AMQPConnectionError:
            self._connection = None
            return self._connected().channel()

    def _connected(self) -> Any:
        if self._connection is None or not self._connection.is_open:
            parameters = pika.ConnectionParameters(
                self.host,
                self.port,
                self.name,
                pika.PlainCredentials(self.username, self.password),
                heartbeat=0,  # nobody serves this connection between two calls
                client_properties={"connection_name": _OWN_NAME},
                blocked_connection_timeout=30,
            )
            self._connection = pika.BlockingConnection(parameters)
        return self._connection


_OWN_NAME = "the test itself"
#: The management API knows a connection only after seconds.
_CONNECTIONS = """[{what} || Each <- rabbit_networking:connections(),
    [{{vhost, <<"{vhost}">>}}, {{client_properties, [_ | _] = Of}}]
        <- [catch rabbit_networking:connection_info(Each, [vhost, client_properties])],
    {{longstr, Name}} <- [rabbit_misc:table_lookup(Of, <<"connection_name">>)], Name =/= <<"{own}">>]"""
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy


def _basic(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def _ready(channel: Channel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _encoded(message: Message) -> tuple[bytes, Mapping[str, Any]]:
    body, properties = message if isinstance(message, tuple) else (message, {})
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body, ensure_ascii=False).encode()
    return body, properties


def _chunks(items: Iterable[Message], size: int) -> Iterator[list[Message]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
