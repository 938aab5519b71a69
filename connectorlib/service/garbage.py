"""How often Python looks for garbage. Nearly all is freed at once, when nothing refers to it any more; the search finds
the rest, which refers to itself."""

import gc

#: New objects after which the youngest are searched: some 2,000 messages, of which about half are in hand. Python's own
#: 700 are those of 140, so it would look at each message in hand several times, for nothing.
YOUNG = 10_000


def exempt_present() -> None:
    """Search seldom from now on, and never again what there is: modules, configuration, connections. What an earlier
    call has exempted is searched once."""
    if gc.get_threshold()[0] == YOUNG:
        gc.unfreeze()
        gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
