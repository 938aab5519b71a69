"""What the status says of a follower."""

import logging
from datetime import datetime

from dbconnector.follow_stats import FollowStats
from dbconnector.watermark import Horizon


def test_the_status_says_how_far_and_what_holds_it_back():
    stats = FollowStats(overlap_s=5.0)
    assert stats.about() == "nothing read yet"
    stats.watermark, stats.horizon = datetime(2026, 1, 31, 8), Horizon(None, "session 7 of pg_dump")
    assert stats.about() == "read up to 2026-01-31 08:00:00, held by session 7 of pg_dump"
    stats.horizon = Horizon(datetime(2026, 1, 31, 9), exact=False)
    assert "open transactions are unknown; only the overlap covers them" in stats.about()
    stats.holder = "plant-2:711:a1b2c3d4"
    assert stats.about() == "read by plant-2:711:a1b2c3d4"


def test_rows_that_come_late_are_counted_and_told_of_beyond_half_of_the_overlap(caplog):
    stats = FollowStats(overlap_s=5.0)
    stats.came_late([])
    stats.came_late([0.5, 2.0])
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        stats.came_late([3.0])
    assert [record.event for record in caplog.records] == ["late rows"]
    assert stats.about().endswith("3 rows late, the latest by 3.0 s")
    assert {metric.name: metric.value() for metric in stats.metrics()} == {
        "follow_late_rows": 3,
        "follow_latest_seconds": 3.0,
    }
