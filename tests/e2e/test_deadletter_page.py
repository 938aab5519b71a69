"""`deadletter-queue serve` in a real browser, and what it refuses to one that is none."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import requests
from selenium.webdriver.common.keys import Keys

from connectorlib.amqp.field_tables import field as amqp_field
from connectorlib.amqp.frame_reader import LazyDelivery
from connectorlib.amqp.frame_writer import encode_properties
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Outgoing
from connectorlib.monitoring.delivery_journal import encoded
from tests.e2e.served_page import Served, served
from tests.e2e.workbench import Workbench
from tests.services.browser import NARROW, WIDE, Browser, browser
from tests.services.deadletters import QUEUE, bury, dead, ids, of_four_causes
from tests.services.waiting import eventually

HOSTILE = "<script>document.title = 'taken'</script>"
TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def bench(tmp_path, vhost):
    return Workbench(tmp_path, vhost)


def journal_entry(message_id: str) -> bytes:
    """Return a message of the journal about a message that was dead-lettered."""
    frame = b"".join(encode_properties(Outgoing("", "", b"", {"message_id": message_id})).encode())
    died = LazyDelivery(1, 1, "readings", "", "readings", False, frame, b"{}", 0.0)
    failure = Failure(Kind.REJECT, "22001", "y" * 300, "write[0]", "device")
    return encoded({"connector": "dbconnector", "name": "plant"}, [died], [Dead(failure)], 1_700_000_000.5)


@contextmanager
def opened(bench: Workbench, *, scripts: bool = True) -> Iterator[Browser]:
    """Serve the page and have a browser look into the queue."""
    with served(bench) as page, browser(bench.folder / "profile", scripts=scripts) as person:
        person.size(WIDE)
        person.go(page.url)
        person.read("It changes nothing")
        person.press("Scan queue")
        person.read("cause")
        yield person
        assert person.errors() == []  # such as a breach of the Content-Security-Policy


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_from_a_cause_to_a_message_and_back_into_its_queue(bench, vhost, scripts):
    vhost.declare_queue("readings")
    bury(vhost, of_four_causes(40))
    with opened(bench, scripts=scripts) as person:
        assert "40 dead letters, 4 causes" in person.text
        assert len(person.all(".time-axis a rect:not(.field)")) == 4
        assert len(person.all(".causes .timeline rect")) == 4
        person.one(".time-axis a").send_keys(Keys.ENTER)
        assert "each bar 1 s, highest 40" in person.read("40 died")
        person.picture("causes")
        person.press("22001")
        person.read("10 of 40 dead letters")
        person.picture("letters")
        person.press("m-8")
        assert '"device": "p-1"' in person.read("Body")
        person.picture("letter")
        person.press("Send back")
        assert "to queue 'readings'" in person.read("Send 1 dead letter back?")
        person.press("Send 1 back")
        person.read("1 of 1 sent back")
        person.press("All causes")
        person.read("39 dead letters, 4 causes")
    assert ids(vhost.get_all("readings")) == ["m-8"]
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(40) if number != 8]


def test_what_a_message_holds_is_shown_as_text(bench, vhost):
    bury(
        vhost,
        [
            dead(
                json.dumps({"note": HOSTILE}).encode(),
                code="<b>code</b>",
                text=HOSTILE,
                detail=HOSTILE,
                queue=HOSTILE,
                message_id="<img src=x onerror=\"document.title='taken'\">",
                content_type="application/json",
                headers={"<i>": f"</pre>{HOSTILE}"},
            )
        ],
    )
    with opened(bench) as person:
        assert HOSTILE in person.text
        person.press("<b>code</b>")
        person.read("1 dead letter")
        person.press("<img")
        assert f'"note": "{HOSTILE}"' in person.read("Body")
        person.picture("hostile")
        person.press("Edit")
        assert HOSTILE in (person.one("textarea").get_attribute("value") or "")
        for css in ("script", "img", "main i", "main b b"):
            assert person.all(css) == []
        assert "taken" not in person.driver.title.split()[0]


def test_all_of_a_cause_go_back_and_the_others_stay_in_order(bench, vhost):
    vhost.declare_queue("readings")
    bury(vhost, of_four_causes(200))
    with opened(bench) as person:
        person.press("23503")
        person.read("50 of 200")
        person.press("Send all 50 back")
        person.read("Send 50 dead letters back?")
        person.picture("question")
        person.press("Send 50 back")
        person.read("50 of 50 sent back")
        person.press("All causes")
        person.read("150 dead letters, 3 causes")
    assert ids(vhost.get_all("readings")) == [f"m-{number}" for number in range(1, 200, 4)]
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(200) if number % 4 != 1]


def test_a_message_is_put_right_in_the_page(bench, vhost):
    vhost.declare_queue("readings")
    own = {"site": "north", "n": amqp_field("s", 7)}
    body = '{"id": 1,\n "device": "a name that is far too long"}'
    bury(vhost, [dead(body.encode(), message_id="m-1", content_type="application/json", headers=own)])
    with opened(bench) as person:
        person.press("22001")
        person.read("m-1")
        person.press("m-1")
        person.read("Body")
        person.press("Edit")
        person.read("Edit the message")
        person.one("textarea").send_keys("}")
        person.press("Check the change")
        person.read("It would die again")
        field = person.one("textarea")
        field.clear()
        field.send_keys('{"id": 1,\n "device": "p-1"}')
        person.one("summary").click()
        document = person.one("textarea[name=document]")
        text = str(document.get_attribute("value"))
        assert '"n": {\n      "$int16": 7' in text
        assert "dead-" not in text
        document.clear()
        document.send_keys(text.replace('"m-1"', '"m-2"').replace("north", "south"))
        person.press("Check the change")
        said = person.read("What changes")
        assert '-  "device": "a name that is far too long"' in said
        assert '+  "device": "p-1"' in said
        assert '+site: "south"' in said
        person.picture("change")
        person.press("Send edited message")
        person.read("1 of 1 sent back")
        person.press("All causes")
        person.read("The queue is empty")
    ((_, properties, mended),) = vhost.get_all("readings")
    assert mended == b'{"id": 1,\n "device": "p-1"}'
    assert (properties.message_id, properties.headers["dead-replays"]) == ("m-2", 1)
    assert (properties.headers["site"], properties.headers["n"]) == ("south", 7)


def test_one_change_for_all_of_a_cause_is_tried_and_then_made(bench, vhost):
    vhost.declare_queue("readings")
    odd = dead(b"no JSON", message_id="m-odd", detail="write[0].values.22001", headers={"n": 1})
    bury(vhost, [*of_four_causes(40, headers={"stale": "x"}), odd])
    with opened(bench) as person:
        person.press("22001")
        person.read("11 of 41")
        person.press("Edit all 11")
        person.read("Edit 11 dead letters")
        person.press("Check the change")
        person.read("There is no change")
        person.one("#sets").send_keys("device=p-77\n$headers.by=me")
        person.one("#unsets").send_keys("$headers.stale")
        person.picture("edit-many")
        person.press("Check the change")
        said = person.read("Send 10 changed dead letters back?")
        assert '+  "device": "p-77",' in said
        assert '+by: "me"' in said
        assert '-stale: "x"' in said
        assert "neither JSON nor XML" in said
        assert (vhost.depth(QUEUE), vhost.depth("readings")) == (41, 0)
        assert list(bench.folder.glob("originals-*")) == []
        assert person.layout_faults() == []
        person.size(NARROW)
        person.picture("preview")
        person.press("Cancel")
        person.read("11 of 41")
        person.driver.back()
        person.press("Edit further")
        person.read("Edit 11 dead letters")
        assert person.one("#sets").get_attribute("value") == "device=p-77\n$headers.by=me"
        assert person.one("#unsets").get_attribute("value") == "$headers.stale"
        person.press("Check the change")
        person.read("Send 10 changed")
        person.press("Send 10 changed")
        person.read("10 of 11 sent back")
        person.press("All causes")
        person.read("31 dead letters")
    sent = vhost.get_all("readings")
    assert ids(sent) == [f"m-{number}" for number in range(0, 40, 4)]
    assert {json.loads(body)["device"] for _, _, body in sent} == {"p-77"}
    assert {properties.headers["by"] for _, properties, _ in sent} == {"me"}
    assert not any("stale" in properties.headers for _, properties, _ in sent)
    assert ids(vhost.get_all(QUEUE)) == [*(f"m-{number}" for number in range(40) if number % 4), "m-odd"]
    (file,) = bench.folder.glob("originals-*.jsonl")
    assert [json.loads(json.loads(line)["body"])["id"] for line in file.read_text().splitlines()] == list(
        range(0, 40, 4)
    )


def test_changed_messages_go_to_the_queue_that_is_named(bench, vhost):
    vhost.declare_queue("readings")
    vhost.declare_queue("other")
    bury(vhost, of_four_causes(5))
    elsewhere = {"where": "queue", "queue": " other "}
    with served(bench) as page:
        own = page.scan()
        link = re.findall(r"/letter/[0-9a-f]{32}", page.get("/letters").text)[0]
        one = own | {"body": '{"id":77}', **elsewhere}
        page.get(link)
        assert "It goes to queue &#39;other&#39;." in page.post(f"{link}/edit", one).text
        assert "Which queue?" in page.post(f"{link}/edit", one | {"queue": ""}).text
        many = page.hidden("/letters", "/edit") | {"sets": "device=p-77", **elsewhere}
        assert "Which queue?" in page.post("/edit", many | {"queue": ""}).text
        preview = page.onward(page.post("/edit", many | {"queue": "gone"}).headers["Location"])
        assert "stay: queue &#39;gone&#39; does not exist" in page.get(preview).text
        preview = page.onward(page.post("/edit", many).headers["Location"])
        assert "to queue &#39;other&#39;" in page.get(preview).text
        confirmed = page.hidden(preview, "/edit") | {"sets": "device=p-77", "confirmed": "yes"}
        page.post("/edit", confirmed)
        eventually(lambda: vhost.depth("other") == 5)
    assert {json.loads(body)["device"] for _, _, body in vhost.get_all("other")} == {"p-77"}
    assert (vhost.depth(QUEUE), vhost.depth("readings")) == (0, 0)


def test_only_the_ticked_ones_are_purged_and_only_when_asked_twice(bench, vhost):
    bury(vhost, of_four_causes(12))
    with opened(bench) as person:
        person.press("22001")
        person.read("3 of 12")
        for box in person.all("input[type=checkbox]")[1:]:
            box.click()
        chosen_on = person.driver.current_url
        person.one("table ~ .actions .danger").click()
        person.read("Remove 2 dead letters permanently?")
        person.press("Cancel")
        person.read("3 of 12")
        assert person.driver.current_url == chosen_on
        for box in person.all("input[type=checkbox]")[1:]:
            box.click()
        person.one("table ~ .actions .danger").click()
        said = person.read("Remove 2 dead letters permanently?")
        assert "m-4" in said
        assert "m-8" in said
        assert vhost.depth(QUEUE) == 12
        person.press("Remove 2 permanently")
        person.read("2 of 2 purged")
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(12) if number not in (4, 8)]


def test_nothing_lies_beyond_the_edge_and_no_word_is_broken(bench, vhost):
    name, headers = "m" * 200, {"stale-route": "plant-6.hall-1-to-hall-3"}
    long = dead(b"x" * 5000, message_id=name, text="y" * 300, time=datetime.now(UTC))
    body = b'{"at": "2026-11-24T03:02:11.123+00:00", "device": "p-7"}'
    hyphens = dead(
        body,
        code="not-decodable",
        text="e-mail of p-7 is a no-reply address " * 3,
        queue="plant-7.hall-3.readings-of-pumps",
        routing_key="reading.plant-7.hall-3.pump-12",
        message_id="reading-2026-11-24-0007",
        headers=headers,
    )
    bury(vhost, [long, hyphens])
    vhost.declare_queue("connector-journal", type="stream")
    vhost.publish("", "connector-journal", [journal_entry(name)])
    with opened(bench) as person:
        assert person.layout_faults() == []
        causes = person.driver.current_url
        for code, message in (("22001", "m" * 100), ("not-decodable", "reading-2026")):
            person.go(causes)
            person.press(code)
            person.read("1 of 2 dead letters")
            assert person.layout_faults() == []
            person.press(message)
            person.read("Body")
            person.press("Read the journal")
            person.read("As of")
            assert person.layout_faults() == []
            person.picture(f"journey-{code}")
            person.press("Purge")
            person.read("permanently?")
            assert person.layout_faults() == []
        person.go(causes)
        person.press("not-decodable")
        person.press("Edit this one")
        person.one("#unsets").send_keys("$headers.stale-route")
        assert person.layout_faults() == []
        person.press("Check the change")
        person.read("fits none")  # its queue does not exist
        assert person.layout_faults() == []


def test_looking_and_opening_change_nothing(bench, vhost):
    bury(vhost, of_four_causes(300))
    with served(bench) as page:
        token = page.form_token()
        for _ in range(3):
            assert page.post("/look", {"form_token": token}).status_code == 303
        link = re.findall(r"/letter/[0-9a-f]{32}", page.get("/letters?page=3").text)[-1]
        assert "m-149" in page.get(link).text
        assert json.loads(page.get(f"{link}/body").content)["id"] == 149
        assert vhost.depth(QUEUE) == 300
    assert ids(vhost.get_all(QUEUE)) == [f"m-{number}" for number in range(300)]


def test_a_form_of_somebody_else_does_nothing(bench, vhost):
    bury(vhost, of_four_causes(4))
    with served(bench) as page:
        own = {"form_token": page.form_token()}
        assert page.post("/look", own, Origin="http://evil.example").status_code == 403
        assert page.post("/look", own, Origin="null").status_code == 403
        assert page.post("/look", own, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert page.post("/look").status_code == 403
        assert page.post("/look", {"form_token": "0" * 64}).status_code == 403
        stranger = Served(page.url, "")
        with stranger.session:
            assert stranger.post("/look", own).status_code == 403  # another session's token
            path = "/letter/" + "0" * 32  # nothing is fetched for a mere link
            assert stranger.get(path).headers["Location"].startswith("/login?next=")
        assert "Scan queue" in page.get().text
        assert page.post("/look", own, Origin=page.url).status_code == 303


def test_a_name_that_is_not_ours_is_refused(bench, vhost):
    vhost.declare_queue(QUEUE)
    with served(bench, "--allow-host", "plant.example") as page:
        assert page.get(Host="rebound.example").status_code == 421
        assert page.get(Host="plant.example:8090").status_code == 200
        assert page.get(Host="localhost").status_code == 200


def test_what_is_done_is_what_was_seen(bench, vhost):
    vhost.declare_queue("readings")
    bury(vhost, of_four_causes(8))
    with served(bench) as page:
        own = {"form_token": page.form_token()}
        page.post("/look", own)
        group = re.search(r"/letters\?group=([0-9a-f]+)", page.get().text)
        assert group
        fields = own | {"group": group[1], "seen": "2.0000000000000000", "confirmed": "yes"}
        assert "The queue has changed" in page.post("/purge", fields).text
        assert "The queue has changed" in page.post("/replay", fields).text
    assert vhost.depth(QUEUE) == 8


def test_every_answer_keeps_scripts_and_frames_out(bench, vhost):
    vhost.declare_queue(QUEUE)
    with served(bench) as page:
        for path in ("/", "/style.css", "/nothing", "/job/9"):
            headers = page.get(path).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
        with requests.get(page.url, timeout=30) as first:
            cookie = first.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie


def test_beyond_loopback_nobody_gets_in_without_a_token(bench, vhost):
    bury(vhost, of_four_causes(4))
    with served(bench, "--listen", "0.0.0.0") as page:  # noqa: S104
        assert page.get().headers["Location"] == "/login"
        assert "dead-letter" not in page.get("/login").text
        assert page.post("/look").status_code == 303
        assert page.post("/login", {"token": "no such token at all"}).status_code == 403
        assert page.get().headers["Location"] == "/login"
        token = page.said.split()[-1]
        assert page.post("/login", {"token": token}).status_code == 303
        assert "Scan queue" in page.get().text
        cookies = page.session.cookies.copy()
        page.post("/logout", {"form_token": page.form_token()})
        page.session.cookies.update(cookies)  # whoever has a copy
        assert page.get().headers["Location"] == "/login"


def test_a_token_of_ones_own_holds_on_loopback_too_and_is_never_printed(bench, vhost, tmp_path):
    vhost.declare_queue(QUEUE)
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with served(bench, "--token-file", str(file)) as page:
        assert TOKEN not in page.said
        assert page.get().headers["Location"] == "/login"
        assert page.post("/login", {"token": TOKEN}).status_code == 303
        assert page.get().status_code == 200
    file.write_text("short")
    bench("serve", "--port", "0", "--token-file", str(file), code=78)
    assert "can be guessed" in bench.said


def test_a_queue_that_is_not_there_is_told_on_the_page(bench, vhost):
    with served(bench) as page:
        page.post("/look", {"form_token": page.form_token()})
        assert "there is no queue" in page.get("/job/1").text
