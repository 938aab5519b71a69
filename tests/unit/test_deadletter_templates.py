"""The templates of the dead-letter page, filled with messages that would like to be markup."""

import json
import re
from collections.abc import Iterator
from html import unescape
from types import SimpleNamespace
from typing import Any, cast

import pytest
from werkzeug.test import Client, TestResponse

from connectorlib.shared_settings import BrokerSettings
from deadletterqueue.session import Session
from deadletterqueue.trace import Line
from deadletterqueue.web.access import Access
from deadletterqueue.web.app import Application
from deadletterqueue.web.jobs import Journey, Outcome, Workspace
from deadletterqueue.web.message_form import ChangeTexts
from deadletterqueue.web.preview import Preview
from deadletterqueue.web.snapshot import Row, Snapshot, identity
from deadletterqueue.web.views import DRAWN
from tests.services.deadletters import dead, letter_of

EVIL = "<script>alert(1)</script>&\"'\u202e"
LETTER = letter_of(
    dead(EVIL.encode(), code=EVIL, text=EVIL, detail=EVIL, queue=EVIL, message_id=EVIL, headers={EVIL: EVIL})
)
ONE = identity(LETTER)


class Page:
    """The page of a queue with one letter, and a client that has a session."""

    def __init__(self) -> None:
        session: Any = SimpleNamespace(settings=BrokerSettings(virtual_host=EVIL), queue=EVIL)
        self.workspace = Workspace(cast(Session, session))
        self.workspace.snapshot = Snapshot([Row(1, ONE, len(LETTER.delivery.body), LETTER)] * 60, 70, note=EVIL)
        self.workspace._keep(ONE, LETTER)
        self.client = Client(Application(self.workspace, Access(None), "cookie"))
        self.token = re.findall(r'name="form_token" value="(\w+)"', self.client.get("/").text)[0]

    def post(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(path, data={"form_token": self.token, **fields})


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    yield page
    page.workspace.jobs.close()


def is_clean(response: TestResponse) -> bool:
    """Return whether a page shows the hostile text, and only as text."""
    found = response.text
    return "<script" not in found and "&lt;script&gt;" in found and "\u202e" not in found and "\\u202e" in found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/?find={EVIL}&since={EVIL}&from={EVIL}&to={EVIL}",
        "/letters",
        f"/letters?page=2&group={LETTER.fingerprint}",
        f"/letter/{ONE}",
    ],
)
def test_a_list_shows_what_messages_hold_as_text(page: Page, path: str) -> None:
    response = page.client.get(path)
    assert response.status_code == 200
    assert is_clean(response)


def test_a_list_leads_to_the_next_page_and_says_what_was_not_looked_at(page: Page) -> None:
    first, last = page.client.get("/letters").text, page.client.get("/letters?page=2").text
    assert "Later in the queue" in first
    assert "Earlier in the queue" not in first
    assert "page 2 of 2" in last
    assert "Only the first 60 of 70 were scanned." in first
    assert first.count('type="checkbox"') == 50


def test_a_body_in_a_text_field_is_escaped_and_nothing_else(page: Page) -> None:
    found = page.client.get(f"/letter/{ONE}/edit").text
    assert "<script" not in found
    assert re.search(
        r"<textarea [^>]*>\n&lt;script&gt;alert\(1\)&lt;/script&gt;&amp;&#34;&#39;\u202e</textarea>", found
    )


def test_headers_of_a_body_that_is_no_text_can_be_changed_and_what_is_wrong_is_said(page: Page) -> None:
    binary = letter_of(dead(b"\xff\x00", message_id="m-1", headers={"site": "north"}))
    page.workspace._keep(ONE, binary)
    path = f"/letter/{ONE}/edit"
    first = page.client.get(path).text
    assert "The body stays as it is: it is not UTF-8." in re.sub("</?span[^>]*>", "", first)
    assert 'name="body"' not in first
    document = unescape(re.findall(r'<textarea name="document"[^>]*>\n(.*?)</textarea>', first, re.DOTALL)[0])
    assert json.loads(document) == {"properties": {"message_id": "m-1"}, "headers": {"site": "north"}}
    for wrong, why in (
        (document + "}", "properties and headers: Extra data"),
        (document.replace('"m-1"', "7"), "message_id has to be a text"),
    ):
        answer = page.post(path, document=wrong, confirmed="yes")
        assert why in answer.text
        assert unescape(answer.text).count(wrong) == 1
    assert page.workspace.jobs.get(1) is None


def test_a_question_names_what_it_is_about(page: Page) -> None:
    response = page.post("/purge", letter=ONE)
    assert is_clean(response)
    assert "Remove 60 dead letters permanently?" in response.text
    assert "and 55 more" in response.text
    assert f'name="letter" value="{ONE}"' in response.text
    assert "None is selected" in page.post("/purge").text


def test_the_page_of_a_job_shows_its_progress_then_its_outcome(page: Page) -> None:
    def work(job: Any) -> Outcome:
        job.show(3, 12)
        job.stop.wait(20)
        return Outcome(EVIL, ((5, EVIL),), (EVIL,), EVIL)

    job = page.workspace.jobs.start(EVIL, work)
    running = page.client.get(f"/job/{job.number}")
    assert running.headers["Refresh"] == "1"
    assert is_clean(running)
    assert page.post("/look").status_code == 409
    assert page.post(f"/job/{job.number}/stop").status_code == 303
    assert job.wait(20)
    ended = page.client.get(f"/job/{job.number}")
    assert is_clean(ended)
    assert "May be in both places" in ended.text


def test_a_preview_shows_everything_as_text_and_sends_exactly_what_was_tried(page: Page) -> None:
    preview = Preview(
        (("find", EVIL),),
        ChangeTexts(EVIL, "a", "[\n1]"),
        5,
        ((5, EVIL),),
        ((2, EVIL),),
        ((EVIL, [("added", f"+{EVIL}")]),),
    )
    job = page.workspace.jobs.start("", lambda job: Outcome("Checked", onward=f"/edit/{job.number}", preview=preview))
    assert job.wait(20)
    assert page.client.get(f"/job/{job.number}").headers["Location"] == f"/edit/{job.number}"
    response = page.client.get(f"/edit/{job.number}")
    sets, unsets, patch = re.findall(r"<textarea [^>]*>\n(.*?)</textarea>", response.text, re.DOTALL)
    assert (unescape(sets), unsets, patch) == (EVIL, "a", "[\n1]")
    assert "<script" not in response.text
    assert "Send 5 changed" in response.text
    assert page.client.get("/edit/99").status_code == 404


def test_a_change_of_many_is_asked_for_and_refused_before_anything_runs(page: Page) -> None:
    assert "Edit 60 dead letters" in page.post("/edit", letter=ONE).text
    assert "None is selected" in page.post("/edit").text
    for fields, said in (
        ({"check": "yes"}, "There is no change"),
        ({"sets": "device"}, "PATH=VALUE"),
        ({"unsets": "a="}, "has to be a path"),
        ({"patch": "{}"}, "a JSON Patch is a list of operations."),
        ({"sets": "a=" + "b" * 70_000}, "too much for a form"),
        ({"sets": "a=1", "seen": "59.0", "confirmed": "yes"}, "The queue has changed"),
        ({"sets": EVIL, "again": "yes"}, "&lt;script&gt;"),
    ):
        response = page.post("/edit", letter=ONE, **fields)
        assert said in response.text
        assert "<script" not in response.text
    assert page.workspace.jobs.get(1) is None


def test_every_cause_has_a_line_and_only_the_first_ones_a_drawing(page: Page) -> None:
    found = [letter_of(dead(code=f"code-{at}")) for at in range(DRAWN + 10)]
    page.workspace.snapshot = Snapshot([Row(at, identity(each), 0, each) for at, each in enumerate(found, 1)], 60)
    text = page.client.get("/").text
    assert text.count('<td class="why">') == DRAWN + 10
    assert text.count('<div class="timeline">') == DRAWN


def test_an_empty_queue_and_one_that_nobody_has_looked_into(page: Page) -> None:
    page.workspace.snapshot = Snapshot([], 0)
    assert "The queue is empty: there are no dead letters." in page.client.get("/").text
    page.workspace.snapshot = None
    assert all("Scan queue" in page.client.get(path).text for path in ("/", "/letters"))


def test_without_a_session_there_is_only_the_sign_in(page: Page) -> None:
    stranger = Client(Application(page.workspace, Access("a token of some length"), "cookie"))
    assert stranger.get("/").headers["Location"] == "/login"
    assert stranger.post("/purge").headers["Location"] == "/login"
    assert 'type="password"' in stranger.get("/login").text
    refused = stranger.post("/login", data={"token": EVIL})
    assert refused.status_code == 403
    assert "That is not the token." in refused.text


TOKEN = "a token of some length"


@pytest.mark.parametrize("path", [f"/letters?group={LETTER.fingerprint}&find=a%20b", f"/letter/{ONE}", "/?since=24h"])
def test_a_link_leads_a_colleague_through_the_sign_in_to_what_it_shows(page: Page, path: str) -> None:
    colleague = Client(Application(page.workspace, Access(TOKEN), "cookie"))
    form = colleague.get(colleague.get(path).headers["Location"]).text
    onward = unescape(re.findall(r'name="next" value="([^"]*)"', form)[0])
    assert "Already signed in?" in form
    mistaken = colleague.post("/login", data={"next": onward, "token": "another token"})
    assert unescape(re.findall(r'name="next" value="([^"]*)"', mistaken.text)[0]) == onward
    signed_in = colleague.post("/login", data={"next": onward, "token": TOKEN})
    assert signed_in.headers["Location"] == path
    assert colleague.get(path).status_code == 200
    assert colleague.get("/login", query_string={"next": path}).headers["Location"] == path
    assert colleague.get("/login?next=//evil.example").headers["Location"] == "/"
    assert colleague.post("/login", data={"next": "//evil.example", "token": TOKEN}).headers["Location"] == "/"


def test_without_a_token_a_link_asks_before_a_letter_is_fetched_and_keeps_the_session(page: Page) -> None:
    path = f"/letter/{ONE}"
    stranger = Client(Application(page.workspace, Access(None), "cookie"))
    asked = stranger.get(path).headers["Location"]
    assert asked == f"/login?next=%2Fletter%2F{ONE}"
    assert "Open the page" in stranger.get(asked).text
    first = stranger.post("/login", data={"next": path})
    assert first.headers["Location"] == path
    assert stranger.get(path).status_code == 200
    again = stranger.post(
        "/login", data={"next": path}
    )  # a link of another site comes without the cookie, this with it
    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in again.headers


def test_a_link_to_a_letter_that_was_not_scanned_asks_for_a_scan_and_comes_back(page: Page) -> None:
    path = "/letter/" + "0" * 32
    missing = page.client.get(path)
    assert missing.status_code == 404
    assert "Only the first 60 of 70 were scanned." in missing.text
    assert f'name="next" value="{path}"' in missing.text
    page.workspace.snapshot = None
    assert "The queue was not scanned yet" in page.client.get(path).text
    assert 'name="next" value="/letters?find=a%20b"' in page.client.get("/letters?find=a%20b").text


def test_the_journey_of_a_letter_is_shown_as_text(page: Page) -> None:
    assert "Read the journal" in page.client.get(f"/letter/{ONE}").text
    page.workspace._journeys[ONE] = Journey((Line(EVIL, EVIL, EVIL, EVIL),) * 3, EVIL)
    found = page.client.get(f"/letter/{ONE}")
    assert is_clean(found)
    assert found.text.count('class="what"') == 3
    assert "Read again" in found.text
