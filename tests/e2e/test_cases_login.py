"""Logging in: before any message, by three flows, and never again and again when it is refused.

By the installed command, between a real broker and the sandbox.
"""

import signal

from tests.e2e.cases import MAPPING, alarm, pause_of
from tests.services.proxy import proxy
from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET, PASSWORD
from tests.services.waiting import eventually

FLOWS = {"by-password": "password", "by-client": "client_credentials", "by-jwt": "jwt"}


def user(division: str) -> str:
    return f"{division}@example.com"


def test_the_token_is_there_before_a_message_is_taken(divisions):
    queue = divisions.division()
    divisions.vhost.declare_queue(queue)
    divisions.publish(queue, [alarm(n) for n in range(20)])
    divisions.org.fault(match={"path": "oauth2/token"}, delay_ms=1000)
    with divisions.started(ready="") as running:
        (login,) = eventually(divisions.org.requests)
        assert login["path"] == "/services/oauth2/token"
        assert divisions.vhost.depth(queue) == 20
        divisions.cases(20)
    events = [line.split()[3] for line in running.log.splitlines()]
    assert events.index("logged") < events.index("consuming")


def test_division_as_password_is_wrong_and_b_works(divisions):
    """B's Cases are made, A's messages wait in their queue, one line says why, A's log-in was tried once. SIGUSR1
    tries it once more, and with the password put right A goes on."""
    org = divisions.org
    a, b = divisions.division("a"), divisions.division("b")
    org.user(user("a"), "another one")
    with divisions.started() as running:
        pause = pause_of(running, "a")
        for start, queue in enumerate((a, b)):
            divisions.publish(queue, [alarm(n) for n in range(10)], start=100 * start)
        assert {case["CreatedById"] for case in divisions.cases(10)} == {org.user(user("b"))}
        assert (divisions.vhost.depth(a), divisions.vhost.unsettled(a)) == (10, 0)
        assert org.logins(user("a")) == 1
        told = [line for line in running.log.splitlines() if "authentication failure" in line]
        assert len(told) == 1, told
        running.signal(signal.SIGUSR1)
        eventually(lambda: org.logins(user("a")) == 2)
        org.user(user("a"), PASSWORD, failures=0)
        assert "authentication failure" in pause_of(running, "a", times=2)["text"]
        running.signal(signal.SIGUSR1)
        divisions.cases(20)
        running.wait_for("RESUMED division=a")
    assert org.logins(user("a")) == 3
    assert divisions.dead() == []
    assert (pause["cause"], pause["held"], pause["next_try"]) == ("invalid_grant", "0", "never")
    for words in (
        "division a",
        "user a@example.com",
        "wrong password",
        "security_token",
        "flow blocked",
        "login_url",
        "IP",
    ):
        assert words in pause["text"]
    assert "SIGUSR1" in pause["do"]


def test_a_log_in_that_is_refused_while_running_is_tried_once(divisions):
    org = divisions.org
    queue = divisions.division("a")
    with divisions.started() as running:
        divisions.publish(queue, [alarm(1)])
        divisions.cases(1)
        org.user(user("a"), "changed meanwhile")
        org.expire_tokens()
        divisions.publish(queue, [alarm(n) for n in range(10)], start=1)
        assert pause_of(running, "a")["cause"] == "invalid_grant"
        org.user(user("a"), PASSWORD, failures=0)
        assert org.logins(user("a")) == 2
        running.signal(signal.SIGUSR1)
        divisions.cases(11)
    assert org.logins(user("a")) == 3


def test_with_no_division_left_it_exits_with_77_and_every_division_says_why(divisions):
    org = divisions.org
    divisions.division("pass", salesforce={"password": "guessed"})
    divisions.division("token", salesforce={"security_token": ""})
    divisions.division("app", salesforce={"client_id": "nobody"})
    divisions.division("secret", salesforce={"client_secret": "guessed"})
    divisions.division("domain", auth="client_credentials")
    divisions.division("approval", auth="jwt")
    divisions.division("fields", mapping=MAPPING | {"Nonsense__c": "text"})
    org.app(CLIENT_ID, CLIENT_SECRET, approved=False)
    org.switch(my_domain=False)
    done = divisions.run("-i", str(divisions.file))
    print(done.stderr)
    assert done.returncode == 77
    said = {
        "pass": ("invalid_grant", "authentication failure", "wrong password"),
        "token": ("invalid_grant", "authentication failure", "missing or outdated security_token"),
        "app": ("invalid_client_id", "client identifier invalid", "wrong client_id"),
        "secret": ("invalid_client", "invalid client credentials", "wrong client_secret"),
        "domain": ("invalid_grant", "request not supported on this domain", "My Domain"),
        "approval": ("invalid_grant", "user hasn't approved this consumer", "administrator"),
        "fields": ("mapping", "Nonsense__c"),
    }
    lines = done.stderr.splitlines()
    for name, words in said.items():
        (line,) = [line for line in lines if f" ERROR division {name}: " in line]
        assert all(word in line for word in words), line
    for name in ("pass", "token", "app", "secret", "approval"):
        assert org.logins(user(name)) == 1
    assert org.cases() == []


def test_with_nothing_but_wrong_mappings_it_exits_with_78(divisions):
    divisions.division("a", mapping={"Subjet": "text"})
    divisions.division("b", mapping={"Description": "text"}, external_id={"field": "Subject", "value": "$message_id"})
    done = divisions.run("-i", str(divisions.file))
    print(done.stderr)
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert any(" ERROR division a: " in line and "Subjet" in line for line in lines)
    assert any(" ERROR division b: " in line and "external" in line for line in lines)


def test_all_three_flows_renew_an_expired_token_once_and_repeat_the_call_where_the_new_token_says(divisions):
    org = divisions.org
    case = {"auto_assign": False, "duplicate_rule": {"allow_save": True}}
    queues = {name: divisions.division(name, auth=auth, case=case) for name, auth in FLOWS.items()}
    logins = {name: f"{name}-app" if auth == "client_credentials" else user(name) for name, auth in FLOWS.items()}
    with divisions.started(times=3) as running, proxy(org.server.host, org.server.port) as moved:
        for start, queue in enumerate(queues.values()):
            divisions.publish(queue, [alarm(start)], start=100 * start)
        divisions.cases(3)
        org.switch(instance_url=f"http://{moved.host}:{moved.port}")
        org.expire_tokens()
        for start, queue in enumerate(queues.values()):
            divisions.publish(queue, [alarm(n) for n in range(20)], start=100 * start + 1)
        made = divisions.cases(63)
        assert moved.connections == 3
    for name, login in logins.items():
        assert sum(case["CreatedById"] == org.user(user(name)) for case in made) == 21
        assert org.logins(login) == 2, name
    calls = org.requests("composite")
    assert sum(call["status"] == 401 for call in calls) == 3
    for call in calls:
        assert call["headers"]["Sforce-Auto-Assign"] == "FALSE"
        assert call["headers"]["Sforce-Duplicate-Rule-Header"] == "allowSave=true"
    (warning,) = [line for line in running.log.splitlines() if "2027-02-20" in line]
    assert "by-password" in warning
    assert "by-jwt" not in warning
