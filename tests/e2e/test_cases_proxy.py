"""Salesforce through the proxy of a company, which wants a log-in and opens TLS (docs/how-to/proxy.md)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cases import MAPPING, alarm, pause_of
from tests.e2e.conftest import CONSUMING
from tests.pages import blocks
from tests.services.certificates import Authority
from tests.services.forward_proxy import forward_proxy

LOGIN_HOST, ORG_HOST = "login.salesforce.com", "acme.my.salesforce.com"
USER, PASSWORD = "plant", "pass:w@rd/7"
ESCAPED = "pass%3Aw%40rd%2F7"  # as it is written in an address
LOOKUP = {"lookup": "Contact", "where": {"Email": "email"}}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def proxy(divisions, authority):
    """The only way to the org, whose log-in is at another host than its API."""
    server = (divisions.org.server.host, divisions.org.server.port)
    divisions.org.switch(instance_url=f"https://{ORG_HOST}")
    certificate = authority.issue(LOGIN_HOST, ORG_HOST)
    with forward_proxy({LOGIN_HOST: server, ORG_HOST: server}, opens=certificate) as proxy:
        proxy.login = f"{USER}:{PASSWORD}"
        yield proxy


def queue_of(divisions, **salesforce):
    """Make a division that looks contacts up; return its queue."""
    mapping = MAPPING | {"ContactId": LOOKUP}
    return divisions.division(mapping=mapping, salesforce={"login_url": f"https://{LOGIN_HOST}", **salesforce})


def environment(proxy):
    """The variables of the page; no other is left that names authorities."""
    bundles = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), "")
    return {"HTTPS_PROXY": f"http://{USER}:{ESCAPED}@{proxy.address}", **bundles}


def test_cases_are_made_through_a_proxy_and_its_refusals_and_its_end_are_pauses(divisions, proxy, authority):
    """403, 407, no proxy: one line names the cause and what helps; nothing is dead-lettered, and all goes on."""
    queue = queue_of(divisions, tls={"ca": authority.ca})
    (contact, *_) = divisions.org.contacts(1)
    with divisions.started(**environment(proxy)) as running:
        divisions.publish(queue, [alarm(0, email="c0@example.com")])
        (case,) = divisions.cases(1)
        assert case["ContactId"] == contact
        assert set(proxy.asked) == {LOGIN_HOST, ORG_HOST}

        server = proxy.servers.pop(ORG_HOST)
        proxy.cut()
        divisions.publish(queue, [alarm(1)], start=1)
        refused = pause_of(running)
        proxy.servers[ORG_HOST] = server
        running.wait_for("RESUMED", 30)

        proxy.login = f"{USER}:changed"
        proxy.cut()
        divisions.publish(queue, [alarm(2)], start=2)
        locked_out = pause_of(running, times=2)
        proxy.login = f"{USER}:{PASSWORD}"
        running.signal(signal.SIGUSR1)
        running.wait_for("RESUMED", 30, times=2)

        proxy.stop()
        divisions.publish(queue, [alarm(3)], start=3)
        gone = pause_of(running, times=3)
        proxy.start()
        running.wait_for("RESUMED", 30, times=3)
        divisions.cases(4)
    assert [pause["cause"] for pause in (refused, locked_out, gone)] == ["proxy-403", "proxy-407", "proxy"]
    assert [proxy.address in pause["text"] for pause in (refused, locked_out, gone)] == [True] * 3
    assert "have the proxy allow the host" in refused["do"]
    assert "user and password into HTTPS_PROXY" in locked_out["do"]
    # Its password may be that of an account which too many wrong ones lock.
    assert locked_out["next_try"] == "300s"
    assert "start the proxy" in gone["do"]
    assert divisions.dead() == []
    assert not [secret for secret in (PASSWORD, ESCAPED) if secret in running.log]


def test_a_proxy_that_opens_tls_is_trusted_once_tls_ca_names_its_authority(divisions, proxy, authority):
    queue = queue_of(divisions)
    with divisions.started(ready="", **environment(proxy)) as running:
        pause = pause_of(running)
        assert (pause["cause"], "tls.ca" in pause["do"]) == ("tls", True)
        queue_of(divisions, tls={"ca": "ca.pem"})  # relative to the configuration
        running.signal(signal.SIGHUP)
        running.wait_for(CONSUMING)
        divisions.publish(queue, [alarm()])
        divisions.cases(1)
    assert not divisions.dead()


def test_check_says_which_proxy_is_used_or_why_it_does_not_help(divisions, proxy, authority, tmp_path):
    """As the page has it."""
    queue_of(divisions, tls={"ca": authority.ca})
    command, shown = (each.text for each in blocks("docs/how-to/proxy.md") if each.run_by)
    file = tmp_path / "proxy.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in environment(proxy).items()))

    def check():
        words = ["sh", "-c", command.replace("/etc/sfconnector", str(tmp_path))]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(words, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        return done

    good = check()
    assert shown.strip().replace("proxy.example.com:3128", proxy.address) in good.stdout
    proxy.login = "another:log-in"
    bad = check()
    assert bad.returncode == 69
    assert f"the proxy {proxy.address} refuses the way to {LOGIN_HOST}: 407" in bad.stdout
    assert "put the proxy's user and password into HTTPS_PROXY" in bad.stdout
    assert not [secret for secret in (PASSWORD, ESCAPED) if secret in good.stdout + bad.stdout + bad.stderr]
