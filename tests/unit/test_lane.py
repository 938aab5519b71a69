"""What a lane does, as conversations: on the left what happens, on the right what the lane wants done about it.

Messages have a letter, which is their key (`_`: none), and a number. `pass`, `lock`, `strange`, `no table`, `reject`,
`alike` (a flood), `down`, `refused`, `locking`, `busy` and `later` are what the target says of each message of the
call, in their order; a single word is for all. `probe: …` is what it says without a message. Time stands still but for
`after … s`.
"""

import re

import pytest

from connectorlib.errors import NEVER, Failure, Kind
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery, Outcome, Properties
from connectorlib.pipeline import lane_protocol as lanes
from connectorlib.pipeline.blame import ALL, Pause
from connectorlib.pipeline.lane import Lane, Piece, Rules, handed_out
from connectorlib.pipeline.lane_step import step
from connectorlib.shared_settings import Retry

PLACE = "write[0]"
FAILURES = {
    "lock": Failure(Kind.RETRY, "55P03", "lock timeout", PLACE),
    "strange": Failure(Kind.UNKNOWN, "HY000", "who knows", PLACE),
    "no table": Failure(Kind.CONFIGURATION, "42P01", "no such table", PLACE),
    "alike": Failure(Kind.FLOOD, "23502", "null in column x", PLACE, same=100),
    "down": Failure(Kind.UNAVAILABLE, "08001", "connection refused", PLACE),
    "refused": Failure(Kind.REFUSED, "28P01", "wrong password", PLACE),
    "locking": Failure(Kind.REFUSED, "28P01", "wrong password", PLACE, retry_after=NEVER),
    "busy": Failure(Kind.UNAVAILABLE, "429", "too many requests", PLACE, retry_after=600.0),
}
OUTCOMES: dict[str, Outcome] = {"pass": DONE, "already": ALREADY, "later": LATER}
OUTCOMES |= {"reject": Dead(Failure(Kind.REJECT, "22001", "too long", PLACE))}
OUTCOMES |= {name: Again(failure) for name, failure in FAILURES.items()}

PLAIN = Rules(Retry(attempts=2, first_ms=1000, max_s=60.0, breaker=3), batch_size=10, hold_seconds=300.0)
ORDERED = Rules(PLAIN.retry, batch_size=10, hold_seconds=300.0, ordered=True)
SINGLY = Rules(PLAIN.retry, batch_size=10, hold_seconds=300.0, ordered=True, one_per_key=True)

CONVERSATIONS: dict[str, tuple[Rules, str]] = {
    "A flood costs one more try, for which the target is asked anew; if that passes there is no pause": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2 c3   -> works on a1 b2 c3
        reject alike alike  -> buries a1 (reject); works on b2
        pass                -> settles b2; works on c3
        """,
    ),
    "In the pause of a flood each probe costs one message, of another key each time": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2 b3 a4 -> works on a1 a2 b3 a4
        alike               -> works on a1
        alike               -> pauses for 23502
        after 0.5 s         ->
        after 1 s           -> probes
        probe: well         -> works on a1
        alike               -> buries a1 (reject)
        after 1 s           ->
        after 1 s           -> probes
        probe: well         -> works on b3
        alike               -> buries b3 (reject)
        after 4 s           -> probes
        messages c5 c6      ->
        probe: well         -> works on c5
        pass                -> settles c5; resumes; works on a2 a4 c6
        """,
    ),
    "Where all in hand are of keys that were refused, a probe waits a moment for another, and then tries the oldest": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2 a3 b4 -> works on a1 b2 a3 b4
        alike               -> works on a1
        alike               -> pauses for 23502
        after 1 s           -> probes
        probe: well         -> works on a1
        alike               -> buries a1 (reject)
        after 2 s           -> probes
        probe: well         -> works on b2
        alike               -> buries b2 (reject)
        after 4 s           -> probes
        probe: well         ->
        messages b5         ->
        after 0.9 s         ->
        after 0.1 s         -> works on a3
        alike               -> buries a3 (reject)
        after 8 s           -> probes
        probe: well         ->
        after 1 s           -> works on b4
        alike               -> buries b4 (reject)
        after 16 s          -> probes
        probe: well         ->
        messages b6 c7      -> works on c7
        pass                -> settles c7; resumes; works on b5 b6
        """,
    ),
    "Any other death of a message in the pause of a flood does not count, and any success ends it": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2 c3   -> works on a1 b2 c3
        alike               -> works on a1
        alike               -> pauses for 23502
        after 1 s           -> probes
        probe: well         -> works on a1
        reject              -> buries a1 (reject); works on b2
        reject              -> buries b2 (reject); works on c3
        already             -> settles c3; resumes
        """,
    ),
    "With order, a flood tries the first message of a key, and its later ones stay behind it": (
        ORDERED,
        """
        probe: well         ->
        messages a1 a2 b3   -> works on a1 a2 b3
        alike               -> works on a1
        alike               -> pauses for 23502
        after 1 s           -> probes
        probe: well         -> works on a1
        lock                -> isolates a1; works on b3
        alike               -> buries b3 (reject)
        after 2 s           -> probes
        probe: well         -> works on a1 apart
        pass                -> settles a1; resumes; works on a2
        """,
    ),
    "A nudge probes a flood at once, and it is announced again if nothing has changed": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2      -> works on a1 b2
        alike               -> works on a1
        alike               -> pauses for 23502
        nudge               -> probes
        probe: well         -> works on a1
        alike               -> buries a1 (reject); pauses for 23502
        """,
    ),
    "A flood is probed on schedule also after what was in hand was requeued": (
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        alike               -> works on a1
        alike               -> pauses for 23502
        requeued            ->
        after 1 s           -> probes
        probe: well         ->
        messages a1         -> works on a1
        pass                -> settles a1; resumes
        """,
    ),
    "What passes through another lane frees the one that a flood has paused, and a probe in vain elsewhere prolongs it": (  # noqa: E501
        PLAIN,
        """
        probe: well         ->
        messages a1 b2      -> works on a1 b2
        alike               -> works on a1
        alike               -> pauses for 23502
        prolonged to 30 s   ->
        after 20 s          ->
        another lane passes -> probes
        probe: well         -> works on a1
        prolonged to 30 s   ->
        pass                -> settles a1; resumes; works on b2
        """,
    ),
    "Nothing is begun before the target has answered, and only one call is under way": (
        PLAIN,
        """
        messages a1 a2      ->
        probe: well         -> works on a1 a2
        messages a3         ->
        pass                -> settles a1 a2; works on a3
        pass                -> settles a3
        """,
    ),
    "While the target does not answer at the start the lane is paused, and it resumes with its answer": (
        PLAIN,
        """
        probe: down         -> pauses for 08001
        after 0.5 s         ->
        after 1 s           -> probes
        probe: down         ->
        after 2 s           -> probes
        probe: well         -> resumes
        """,
    ),
    "A reject is buried at once, and costs its neighbours nothing": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2 a3   -> works on a1 a2 a3
        pass reject already -> settles a1 a3; buries a2 (reject)
        """,
    ),
    "What the sink puts off comes again before what is new": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2 a3   -> works on a1 a2 a3
        messages a4         ->
        pass later later    -> settles a1; works on a2 a3
        pass                -> settles a2 a3; works on a4
        """,
    ),
    "A batch that meets a lock is tried together once more, then one by one": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2 a3   -> works on a1 a2 a3
        lock                -> retries 3
        after 0.5 s         ->
        after 1 s           -> works on a1 a2 a3 apart
        lock                -> works on a1 apart
        pass                -> settles a1; works on a2 apart
        lock                -> isolates a2; works on a3 apart
        pass                -> settles a3
        after 1 s           -> works on a2 apart
        pass                -> settles a2
        """,
    ),
    "A batch that fails for a reason that no wait helps is split at once, a large one first into pieces": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2 a3 a4 a5 a6 a7 a8 a9 -> works on a1 a2 a3 a4 a5 a6 a7 a8 a9
        strange             -> works on a1 a2 a3 apart
        strange             -> works on a1 apart
        pass                -> settles a1; works on a2 apart
        strange             -> isolates a2; works on a3 apart
        pass                -> settles a3; works on a2 apart
        strange             -> isolates a2; buries a2 (unknown); works on a4 a5 a6 apart
        pass                -> settles a4 a5 a6; works on a7 a8 a9 apart
        pass                -> settles a7 a8 a9
        """,
    ),
    "One that fails alone while nothing else is there is blamed only for a strange failure, and only if the target is well": (  # noqa: E501
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        strange             -> isolates a1
        queue empty         -> probes
        probe: well         -> buries a1 (unknown)
        messages a2         -> works on a2
        no table            -> isolates a2
        queue empty         -> probes
        probe: well         -> pauses for 42P01
        after 1 s           -> probes
        probe: well         -> works on a2 apart
        pass                -> settles a2; resumes
        """,
    ),
    "A target that is down blames nobody, and the message that showed it is tried again first, alone": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2      -> works on a1 a2
        down                -> pauses for 08001
        messages a3         ->
        after 1 s           -> probes
        probe: well         -> works on a1
        pass                -> settles a1; resumes; works on a2
        pass                -> settles a2; works on a3
        """,
    ),
    "A pause is announced again when its cause changes": (
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        down                -> pauses for 08001
        after 1 s           -> probes
        probe: refused      -> pauses for 28P01
        after 5 s           ->
        after 6 s           -> probes
        """,
    ),
    "A target that names a time is left alone for so long, then asked as usual": (
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        busy                -> pauses for 429
        after 590 s         ->
        after 20 s          -> probes
        probe: down         -> pauses for 08001
        after 60 s          -> probes
        probe: well         -> works on a1
        pass                -> settles a1; resumes
        """,
    ),
    "A refused log-in is not tried again by itself where that locks users; a nudge tries it": (
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        locking             -> pauses for 28P01
        after 600 s         ->
        nudge               -> probes
        probe: locking      -> pauses for 28P01
        nudge               -> probes
        probe: well         -> works on a1
        pass                -> settles a1; resumes
        """,
    ),
    "Too many that fail alone in a row are not the messages' fault": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2 c3 d4 -> works on a1 b2 c3 d4
        no table            -> works on a1 apart
        no table            -> isolates a1; works on b2 apart
        no table            -> isolates b2; works on c3 apart
        no table            -> isolates c3; probes
        probe: well         -> pauses for 42P01
        messages e5         ->
        after 1 s           -> probes
        probe: well         -> works on a1 apart
        pass                -> settles a1; resumes; works on b2 c3 d4
        """,
    ),
    "After a pause for a wrong configuration one message shows whether it lasts, another one each time": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2      -> works on a1 b2
        no table            -> works on a1 apart
        no table            -> isolates a1; works on b2 apart
        no table            -> isolates b2
        queue empty         -> probes
        probe: well         -> pauses for 42P01
        messages c3         ->
        after 1 s           -> probes
        probe: well         -> works on a1 apart
        no table            ->
        after 2 s           -> probes
        probe: well         -> works on c3
        pass                -> settles c3; resumes; works on a1 b2
        """,
    ),
    "After repeated pauses for strange failures one is tried first that has not been tried": (
        PLAIN,
        """
        probe: well         ->
        messages a1 b2 c3 d4 -> works on a1 b2 c3 d4
        strange             -> works on a1 apart
        strange             -> isolates a1; works on b2 apart
        strange             -> isolates b2; works on c3 apart
        strange             -> isolates c3; probes
        probe: well         -> pauses for HY000
        messages e5         ->
        after 1 s           -> probes
        probe: well         -> works on a1 apart
        strange             -> isolates a1; works on b2 apart
        strange             -> isolates b2; works on c3 apart
        strange             -> isolates c3; probes
        probe: well         ->
        after 2 s           -> probes
        probe: well         -> works on e5
        pass                -> settles e5; resumes; works on a1 b2 c3 d4
        """,
    ),
    "Messages of a key wait for the earlier ones of it, and others pass": (
        ORDERED,
        """
        probe: well         ->
        messages a1 b2 a3   -> works on a1 b2 a3
        lock                -> retries 3
        after 1 s           -> works on a1 b2 a3 apart
        lock                -> works on a1 apart
        lock                -> isolates a1; works on b2 apart
        pass                -> settles b2
        messages b4 a5      -> works on b4
        pass                -> settles b4
        after 1 s           -> works on a1 apart
        pass                -> settles a1; works on a3 a5
        pass                -> settles a3 a5
        """,
    ),
    "What has not been tried yet, and goes first for once, is of another key": (
        ORDERED,
        """
        probe: well         ->
        messages a1 b2 c3   -> works on a1 b2 c3
        no table            -> works on a1 apart
        no table            -> isolates a1; works on b2 apart
        no table            -> isolates b2; works on c3 apart
        no table            -> isolates c3; probes
        probe: well         -> pauses for 42P01
        messages a4 d5      ->
        after 1 s           -> probes
        probe: well         -> works on a1 apart
        no table            ->
        after 2 s           -> probes
        probe: well         -> works on d5
        pass                -> settles d5; resumes; works on a1 b2 c3
        """,
    ),
    "A dead letter frees its key": (
        ORDERED,
        """
        probe: well         ->
        messages a1         -> works on a1
        strange             -> isolates a1
        messages a2 b3      -> works on b3
        pass                -> settles b3; works on a1 apart
        strange             -> isolates a1; buries a1 (unknown); works on a2
        """,
    ),
    "Of a call whose sink knows which one waits for a lock the others go on at once, but for its key": (
        ORDERED,
        """
        probe: well         ->
        messages a1 b2 c3 b4 -> works on a1 b2 c3 b4
        later lock later later -> isolates b2; works on a1 c3
        pass                -> settles a1 c3
        after 1 s           -> works on b2 apart
        pass                -> settles b2; works on b4
        """,
    ),
    "One that waits for a lock behind another one of its key waits with it": (
        ORDERED,
        """
        probe: well         ->
        messages a1 b2 a3   -> works on a1 b2 a3
        later later lock    -> retries 3
        after 1 s           -> works on a1 b2 a3 apart
        """,
    ),
    "A lock that was waited for long is tried again when the others have had three quarters of the time": (
        ORDERED,
        """
        probe: well         ->
        messages a1 b2      -> works on a1 b2
        after 5 s           ->
        lock later          -> isolates a1; works on b2
        pass                -> settles b2
        after 14 s          ->
        after 16 s          -> works on a1 apart
        """,
    ),
    "A sink that settles the messages of a call singly gets one of each key at a time": (
        SINGLY,
        """
        probe: well         ->
        messages a1 b2 a3 b4 c5 -> works on a1 b2 c5
        pass lock pass      -> settles a1 c5; retries 1
        after 1 s           -> works on b2 apart
        pass                -> settles b2; works on a3 b4
        """,
    ),
    "Messages without a key wait for no other, and no other waits for them": (
        SINGLY,
        """
        probe: well         ->
        messages _1 a2 _3   -> works on _1 a2 _3
        lock pass pass      -> settles a2 _3; retries 1
        messages _4 a5 _6   ->
        after 1 s           -> works on _1 apart
        lock                -> isolates _1; works on _4 a5 _6
        """,
    ),
    "What came back often is tried alone": (
        PLAIN,
        """
        probe: well         ->
        messages a1*3 a2*3 a3 -> works on a1*3
        pass                -> settles a1*3; works on a2*3
        pass                -> settles a2*3; works on a3
        """,
    ),
    "A stop begins nothing, and what is under way is settled": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2      -> works on a1 a2
        messages a3         ->
        stop                ->
        pass reject         -> settles a1; buries a2 (reject)
        after 100 s         ->
        """,
    ),
    "What is not ours any more is neither retried nor mixed with what comes again": (
        PLAIN,
        """
        probe: well         ->
        messages a1 a2      -> works on a1 a2
        channel gone        ->
        messages a1 a2      ->
        lock                -> works on a1 a2
        """,
    ),
    "After a requeue what would only fail again waits as long as it was held, unless somebody asks": (
        PLAIN,
        """
        probe: well         ->
        messages a1         -> works on a1
        no table            -> isolates a1
        queue empty         -> probes
        probe: well         -> pauses for 42P01
        requeued            ->
        after 299 s         ->
        after 1 s           -> probes
        """,
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation(name: str) -> None:
    rules, text = CONVERSATIONS[name]
    conversation = Conversation(rules)
    assert conversation.give(lanes.Started()) == "probes"
    for line in text.strip().splitlines():
        happens, wanted = (part.strip() for part in line.split("->"))
        assert conversation.says(happens) == wanted, line.strip()


class Conversation:
    def __init__(self, rules: Rules) -> None:
        self.lane = Lane(rules)
        self.now = 1000.0
        self.passed = {PLACE: 0, ALL: 0}

    def says(self, happens: str) -> str:
        return self.give(self.event(happens))

    def event(self, happens: str) -> lanes.Event:
        word, _, rest = happens.partition(" ")
        match word:
            case "prolonged":
                next_try = self.now + float(rest.removeprefix("to ").removesuffix(" s"))
                return lanes.Prolonged(Pause(FAILURES["alike"], self.now, attempt=6, next_try=next_try))
            case "another":
                return lanes.Tick({place: before + 1 for place, before in self.passed.items()})
            case "messages":
                return lanes.Arrived(tuple(self.delivery(name) for name in rest.split()))
            case "probe:":
                return lanes.Probed(FAILURES.get(rest), dict(self.passed))
            case "after":
                self.now += float(rest.removesuffix(" s"))
                return lanes.Tick(dict(self.passed))
        others: dict[str, lanes.Event] = {
            "queue empty": lanes.Tick(dict(self.passed), empty=True),
            "nudge": lanes.Nudged(),
            "stop": lanes.Stopped(),
            "channel gone": lanes.Dropped(),
            "requeued": lanes.Dropped(requeued=True),
        }
        return others.get(happens) or self.answer(happens)

    def answer(self, said: str) -> lanes.Event:
        words = [said] if said in OUTCOMES else said.split()
        outcomes = [OUTCOMES[word] for word in words] * (len(self.lane.working) if len(words) == 1 else 1)
        count = outcomes.count(DONE)
        self.passed = {place: before + count for place, before in self.passed.items()}
        return lanes.Finished(outcomes, dict(self.passed))

    def give(self, event: lanes.Event) -> str:
        self.lane, actions = step(self.lane, event, self.now, 1.0)
        return "; ".join(self.told(action) for action in actions)

    def told(self, action: lanes.Action) -> str:
        match action:
            case lanes.Work(deliveries, isolating):
                return f"works on {names(deliveries)}{' apart' if isolating else ''}"
            case lanes.Settle(deliveries):
                return f"settles {names(deliveries)}"
            case lanes.Bury(verdicts):
                return "buries " + " ".join(f"{names([delivery])} ({verdict.reason})" for delivery, verdict in verdicts)
            case lanes.Announce(pause):
                return f"pauses for {pause.failure.code}"
            case lanes.Retried(count=count):
                return f"retries {count}"
            case lanes.Isolated(delivery):
                return f"isolates {names([delivery])}"
            case lanes.Probe():
                return "probes"
            case lanes.Resumed():
                return "resumes"

    def delivery(self, name: str) -> Delivery:
        key, number, times = re.fullmatch(r"([a-z_])(\d+)(?:\*(\d+))?", name).groups()  # type: ignore[union-attr]  # or red
        made = Delivery(int(number), 1, "q", "", name, bool(times), None, b"", self.now)  # type: ignore[arg-type]
        made.properties = Properties(headers={"x-delivery-count": int(times)} if times else None)
        made.key = None if key == "_" else key
        return made


def names(deliveries: object) -> str:
    return " ".join(delivery.routing_key for delivery in deliveries)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("headers", "redelivered", "count"),
    [
        ({}, False, 0),
        ({}, True, 1),
        ({"x-delivery-count": 4}, True, 4),
        ({"x-delivery-count": 2, "x-acquired-count": 9}, True, 2),
        ({"x-acquired-count": 9}, True, 0),
        ({"x-delivery-count": "many"}, True, 0),
    ],
)
def test_what_was_given_back_without_a_crash_is_no_reason_to_suspect(
    headers: dict[str, object], redelivered: bool, count: int
) -> None:
    assert handed_out(Delivery(1, 1, "q", "", "a", redelivered, Properties(headers=headers), b"", 0.0)) == count


def test_what_is_tried_again_in_a_flood_ends_the_search_for_another_key() -> None:
    """Its peers probe nothing while a lane searches."""
    alike = FAILURES["alike"]
    tried = Piece((Delivery(1, 1, "q", "", "a", False, Properties(), b"", 0.0),), isolated=True)
    lane = Lane(PLAIN, pieces=(tried,), pause=Pause(alike, 0.0), careful=True, seeks_until=1.0)
    lane, actions = step(lane, lanes.Tick({}), 0.5, 0.0)
    assert actions == [lanes.Work(tried.deliveries, True)]
    lane, _ = step(lane, lanes.Finished([Again(alike)], {}), 0.6, 0.0)
    assert lane.paused
    assert lane.seeks_until == 0.0


def test_only_a_tick_or_a_nudge_begins_the_probe_of_a_pause_so_that_one_lane_of_a_target_asks_it() -> None:
    def due() -> Conversation:
        talk = Conversation(PLAIN)
        for happens in ("probe: well", "messages a1 b2", "down"):
            talk.says(happens)
        assert talk.lane.paused
        talk.now += 60
        return talk

    assert due().says("messages c3") == ""
    assert due().says("channel gone") == ""
    assert due().says("after 0 s") == "probes"
    assert due().says("nudge") == "probes"
