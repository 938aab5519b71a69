"""The parts of the page that need neither browser nor broker."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from markupsafe import Markup

from connectorlib.values.hosts import is_loopback
from deadletterqueue.edit_command import checked
from deadletterqueue.replay import Report
from deadletterqueue.target import ORIGIN, Leave, Route, Target
from deadletterqueue.web.access import SESSION_S, Access
from deadletterqueue.web.destination import Destination, destination_of
from deadletterqueue.web.jobs import Busy, Job, Jobs, Outcome
from deadletterqueue.web.links import LONGEST, local_path, login_path
from deadletterqueue.web.message_form import ChangeTexts, edited_text, uneditable
from deadletterqueue.web.preview import EXAMPLES, MAX_LINE, MAX_LINES, MAX_REASONS, Examples, diff, staying
from deadletterqueue.web.snapshot import Row, Snapshot, View, groups, identity, seen
from deadletterqueue.web.views import targets
from deadletterqueue.web.visit import environment, page_before
from tests.services.deadletters import DIED, QUEUE, dead, letter_of


def rows(*messages):
    letters = [letter_of(message) for message in messages]
    return [Row(at, identity(each), 0, each) for at, each in enumerate(letters, 1)]


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<script>", "&lt;script&gt;"),
        ("\" onload='x", "&#34; onload=&#39;x"),
        ("{0.__class__} & co", "{0.__class__} &amp; co"),
        ("\u202eevil\x1b[2J", "\\u202eevil\\u001b[2J"),
        ("two\nlines", "two\nlines"),
        (Markup("<b>ours</b>"), "<b>ours</b>"),
        (None, ""),
    ],
)
def test_what_a_template_is_given_becomes_text(value, shown):
    filled = environment().from_string('<p title="{{ value }}">').render(value=value)
    assert filled.replace("\\x1b", "\\u001b") == f'<p title="{shown}">'


def test_a_session_is_of_this_process_and_ends_where_a_token_is_needed():
    clock = Clock()
    open_to_all, guarded, other = (
        Access(None, clock=clock),
        Access("a" * 20, clock=clock),
        Access("a" * 20, clock=clock),
    )
    sessions = open_to_all.new_session(), guarded.new_session()
    assert open_to_all.is_session(sessions[0])
    assert guarded.is_session(sessions[1])
    assert not other.is_session(sessions[1])
    assert not guarded.is_session(sessions[1] + "0")
    assert not any(guarded.is_session(cookie) for cookie in (None, "", ".", "x.y.z"))
    clock.now += SESSION_S + 1
    assert not guarded.is_session(sessions[1])
    assert open_to_all.is_session(sessions[0])


def test_a_session_that_was_ended_is_over_and_no_other():
    clock = Clock()
    access = Access("a token of some length", clock=clock)
    mine, yours = access.new_session(), access.new_session()
    access.end(mine)
    assert not access.is_session(mine)
    assert access.is_session(yours)
    clock.now += SESSION_S + 1
    access.end(yours)
    assert not access.is_session(mine)


def test_a_form_token_is_of_one_session():
    access = Access(None)
    one, two = access.new_session(), access.new_session()
    assert access.is_form_token(one, access.form_token(one))
    assert not access.is_form_token(two, access.form_token(one))
    assert not access.is_form_token(one, "")
    assert not access.is_form_token(one, "ü")


@pytest.mark.parametrize(
    "path", ["/", "/letters?group=ab&find=a%20b", "/letter/0123", "/letters?from=1&to=2#x", "/?next=https://a.example/"]
)
def test_a_link_to_this_page_survives_the_sign_in(path):
    assert local_path(path) == path
    query = parse_qs(urlsplit(login_path(path)).query)
    assert query == ({} if path == "/" else {"next": [path]})


@pytest.mark.parametrize(
    "link",
    [
        *(
            "",
            "letters",
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
        ),
        *(
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/a\\b",
            "/a b",
            "/a\r\nSet-Cookie: a=b",
        ),
        *("javascript:alert(1)", "/\0", "/\u202e", "/\uff0fevil.example", "/" + "a" * LONGEST),
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(link):
    assert local_path(link) == "/"
    assert login_path(link) == "/login"


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.7", False), ("::", False)]
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_a_view_means_a_cause_words_and_a_time():
    snapshot = Snapshot(
        rows(
            dead(message_id="m-1"),
            dead(message_id="m-2", queue="alarms"),
            dead(message_id="m-3", code="23503", detail="x"),
            dead(message_id="m-4", time=DIED - timedelta(days=2)),
        ),
        4,
        at=DIED,
    )

    def ids(view: View) -> list[str]:
        return [row.letter.message_id for row in view.rows(snapshot)]

    cause = snapshot.rows[0].letter.fingerprint
    assert ids(View()) == ["m-1", "m-2", "m-3", "m-4"]
    assert ids(View(group=cause)) == ["m-1", "m-2", "m-4"]
    assert ids(View(group=cause, find="ALARMS 22001")) == ["m-2"]
    assert ids(View(since="24h")) == ["m-1", "m-2", "m-3"]
    assert ids(View(since="no such time")) == ["m-1", "m-2", "m-3", "m-4"]
    assert ids(View(letters=(snapshot.rows[3].identity, "unknown"))) == ["m-4"]
    assert [group.count for group in groups(snapshot.rows)] == [3, 1]


def test_what_was_seen_is_not_what_is_there_with_the_same_number():
    one, two, three = rows(dead(message_id="m-1"), dead(message_id="m-2"), dead(message_id="m-3"))
    assert seen([one, two]) == seen([one, two])
    assert seen([one, two]) != seen([one, three])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}\n", ""),
        (b"a\r\nb\r\n", ""),
        (b"a\r\nb\n", "line ends"),
        (b"a\rb", "line ends"),
        (b"\xff", "UTF-8"),
        (b"a\0b", "null"),
        (b" " * 2_000_000, "2,000,000 bytes"),
    ],
)
def test_what_a_text_field_would_damage_cannot_be_changed_in_one(body, why):
    assert why in uneditable(body)
    assert bool(why) == bool(uneditable(body))


@pytest.mark.parametrize("body", [b"a\nb\n", b"a\r\nb", b"\n\na", b""])
def test_a_body_that_nobody_changed_comes_back_the_same(body):
    as_browsers_send_it = body.decode().replace("\r\n", "\n").replace("\n", "\r\n")
    assert edited_text(as_browsers_send_it, body).encode() == body


REMOVE = '[{"op": "remove", "path": "/old"}]'
EDITS = {
    "a line": (ChangeTexts("device=p-7", "", ""), '{"old":1,"device":"p-7"}'),
    "lines as browsers send them, and empty ones": (
        ChangeTexts("\r\ndevice=p-7\r\n \r\nold=2\r\n", "", ""),
        '{"old":2,"device":"p-7"}',
    ),
    "a value with spaces and marks": (ChangeTexts("device= a\u2028=b ", "", ""), '{"old":1,"device":" a\u2028=b "}'),
    "a removal": (ChangeTexts("", "\r\n old \r\n", ""), '{"device":"x"}'),
    "a patch": (ChangeTexts("", "", REMOVE), '{"device":"x"}'),
    "a patch, then a line": (ChangeTexts("old=5", "", REMOVE), '{"device":"x","old":5}'),
    "a line, then a removal": (ChangeTexts("new=5", "device", ""), '{"old":1,"new":5}'),
}


@pytest.mark.parametrize(("texts", "expected"), EDITS.values(), ids=EDITS)
def test_a_change_of_many_is_what_the_form_says(texts, expected):
    new = texts.edit()(letter_of(dead(b'{"old":1,"device":"x"}')))
    assert new.delivery.body.decode() == expected


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (ChangeTexts("", "", ""), "no change"),
        (ChangeTexts(" \r\n", "\r\n", "\n"), "no change"),
        (ChangeTexts("device", "", ""), "PATH=VALUE"),
        (ChangeTexts("$timestamp=1", "", ""), "cannot be set"),
        (ChangeTexts("", "device=1", ""), "has to be a path"),
        (ChangeTexts("", "$now", ""), "cannot be removed"),
        (ChangeTexts("a=1", "", "{}"), "list"),
        (ChangeTexts("", "", "["), "no JSON Patch"),
        (ChangeTexts("", "", '[{"op": "no such"}]'), "no JSON Patch"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(texts, why):
    with pytest.raises(ValueError, match=why):
        texts.edit()


@pytest.mark.parametrize(
    ("view", "path"),
    [
        (View(), "/letters"),
        (View(group="a", find="b c"), "/letters?group=a&find=b+c"),
        (View(letters=("1",)), "/letter/1"),
        (View(letters=("1", "2")), "/letters"),
        (View(group="a", letters=("1",)), "/letters?group=a"),
    ],
)
def test_a_question_leads_back_to_where_its_letters_were_chosen(view, path):
    assert page_before(view) == path


def test_a_preview_holds_the_first_changes_and_a_bounded_part_of_them():
    examples = Examples(checked(ChangeTexts("id=7", "", "").edit(), None))
    assert isinstance(examples(letter_of(dead(b"no JSON"))), Leave)
    many = b'{"id":1,' + b",".join(b'"n%d":1' % at for at in range(5000)) + b"}"
    long = b'{"id":1,"a":"' + b"x" * 5000 + b'"}'
    for body in (b'{"id":1}', many, long, b'{"id":2}'):
        new = examples(letter_of(dead(body, message_id=f"m-{len(body)}")))
        assert not isinstance(new, Leave)
    assert [name for name, _ in examples.found] == ["m-8", f"m-{len(many)}", f"m-{len(long)}"]
    assert len(examples.found) == EXAMPLES
    assert {("removed", '-  "id": 1'), ("added", '+  "id": 7')} <= set(examples.found[0][1])
    assert all(len(lines) <= MAX_LINES + 1 for _, lines in examples.found)
    assert all(len(line) <= MAX_LINE + 1 for _, lines in examples.found for _, line in lines)


def test_a_long_difference_ends_in_a_mark():
    before, after = [f"a{at}" for at in range(100)], [f"b{at}" for at in range(100)]
    assert len(diff(before, after)) == 201
    changing = Examples(lambda letter: letter_of(dead(b"\n".join(line.encode() for line in after))))
    changing(letter_of(dead(b"\n".join(line.encode() for line in before))))
    ((_, lines),) = changing.found
    assert (len(lines), lines[-1]) == (MAX_LINES + 1, ("place", "…"))


def test_reasons_to_stay_are_bounded_and_their_counts_are_complete():
    report = Report()
    report.left.update({f"reason {at}": 100 - at for at in range(MAX_REASONS + 5)})
    report.sent[Target("", "readings")] = 3
    asked = report.chosen + 2
    found = staying(report, asked)
    assert found[0] == (100, "stay: reason 0")
    assert found[-1] == (2, "no longer in the queue")
    assert len(found) == MAX_REASONS + 2
    assert sum(count for count, _ in found) == asked - 3


def test_where_letters_go_is_said_before_they_go():
    often = dead(message_id="m-2", headers={"dead-replays": 3})
    found = rows(dead(message_id="m-1"), often, dead(message_id="m-3", queue=QUEUE))
    going, staying = targets(found, Destination().route(often=False), QUEUE)
    assert going == {Target("", "readings"): 1}
    assert staying.total() == 2
    going, staying = targets(found, Destination("origin").route(often=True), QUEUE)
    assert going == {Target("devices", "reading.p-1"): 3}
    other = destination_of({"where": "queue", "queue": " other "})
    assert other.route(often=True) == Route(to_queue="other", max_replays=None)
    assert destination_of(dict(other.fields)) == other
    assert destination_of({"where": "origin", "queue": "other"}).route(often=False) == Route(to_exchange=ORIGIN)
    assert destination_of({"where": "elsewhere"}) == Destination()
    assert [destination_of({"where": each}).problem for each in ("", "origin")] == ["", ""]
    assert "Which queue?" in destination_of({"where": "queue", "queue": " "}).problem


def test_one_works_on_the_queue_at_a_time_and_is_stopped_at_the_end():
    jobs = Jobs()

    def until_stopped(job):
        job.stop.wait(30)
        raise KeyboardInterrupt

    first = jobs.start("Looking", until_stopped)
    with pytest.raises(Busy) as busy:
        jobs.start("Purging", lambda job: Outcome("never"))
    assert busy.value.job is first
    jobs.close()
    assert first.ended
    assert first.outcome is not None
    assert "stopped" in first.outcome.title


def test_a_bug_is_told_without_what_the_log_must_hide(caplog):
    jobs = Jobs()

    def broken(job: Job) -> Outcome:
        return Outcome(str(1 / 0))

    job = jobs.start("Looking", broken)
    assert job.wait(10)
    assert job.outcome is not None
    assert "division" not in job.outcome.failure
    assert "ZeroDivisionError" in caplog.text
    jobs.close()
