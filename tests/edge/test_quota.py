"""The store within its share: what goes, in which order, what never goes, and all of it counted."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.errors import ConfigError
from sightpost_edge.store.ballast import MIB, Ballast, Space
from sightpost_edge.store.dropping import GONE
from sightpost_edge.store.quarantine import trim
from sightpost_edge.store.quota import StorageSettings
from sightpost_edge.store.retention import KEPT, Doubt, Pictures, Value, leaving, values
from sightpost_edge.store.watched import read_watched

from .store_rig import BLOCK, RULES, Rig

SLACK = 5
"""A 256th of the limit more than had to go, in the pictures of this test."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    with closing(rig.connection):
        yield rig


# What a picture is worth


@pytest.mark.parametrize(
    ("label", "score", "named_by", "doubted"),
    [
        ("deer", 0.91, "label", False),
        ("deer", 0.89, "label", True),
        ("owl", 0.71, "label", False),
        ("owl", 0.69, "label", True),
        ("deer", 0.99, "group", True),
        ("unknown", 0.99, "novelty", True),
    ],
)
def test_what_is_nearer_to_the_threshold_than_to_certainty_is_doubtful(
    label: str, score: float, named_by: str, doubted: bool
) -> None:
    assert Doubt.read(json.dumps(RULES)).doubts(label, score, named_by) is doubted


def test_blank_is_what_the_model_or_the_rules_call_nothing() -> None:
    doubt = Doubt.read(json.dumps(RULES))
    assert [x for x in ("empty", "Blank", "Grass", "deer") if doubt.blank(x)] == [
        "empty", "Blank", "Grass",
    ]  # fmt: skip
    for spoilt in ("{}", "", "[1]", '{"threshold": "x"}', '{"classes": {"a": 1}}'):
        assert Doubt.read(spoilt).threshold == 0.8


def pictures(rows: list[tuple[int, float, bool, bool, bool, bool]]) -> Pictures:
    """From (group, score, doubtful, blank, marked, clip); each has a snapshot."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    kinds = (np.int32, np.float32, np.bool_, np.bool_, np.bool_, np.bool_)
    made = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return Pictures(*made, np.ones(len(rows), np.bool_))


row = st.tuples(
    st.integers(0, 3), st.sampled_from([0.5, 0.7, 0.9]), st.booleans(), st.booleans(),
    st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(row, max_size=120))
def test_the_order_is_what_the_words_say(
    rows: list[tuple[int, float, bool, bool, bool, bool]],
) -> None:
    """Against the sentence in plain Python: value; clips first; the label that has most of this
    value gives its oldest; then age."""
    best: set[int] = set()
    for group in range(4):
        mine = sorted((r[1], i) for i, r in enumerate(rows) if r[0] == group)
        best |= {i for _, i in mine[-KEPT:]}

    def worth(i: int) -> Value:
        _, _, doubtful, blank, marked, _ = rows[i]
        if marked or blank:
            return Value.MARKED if marked else Value.BLANK
        if i in best:
            return Value.RARE
        return Value.UNCERTAIN if doubtful else Value.COMMON

    def newer(i: int) -> int:
        return sum(
            rows[j][0] == rows[i][0] and worth(j) == worth(i) for j in range(i + 1, len(rows))
        )

    items = [(worth(i), kind, -newer(i), i) for i in range(len(rows)) for kind in (0, 1)]
    expected = sorted(x for x in items if x[0] < Value.MARKED and (x[1] or rows[x[3]][5]))
    found, clips, worths = leaving(pictures(rows))
    assert values(pictures(rows)).tolist() == [worth(i) for i in range(len(rows))]
    assert list(zip(worths.tolist(), (~clips).tolist(), found.tolist(), strict=True)) == [
        (value, kind, i) for value, kind, _, i in expected
    ]


# How much


@pytest.mark.parametrize(
    ("total", "limit", "reserve", "ballast"),
    [
        (2 * MIB, 1 * MIB, 104_857, 104_857),
        (16_000_000_000, 8_000_000_000, 800_000_000, MIB),
        (2_000_000_000_000, 1_000_000_000_000, 1024 * MIB, MIB),
    ],
)
def test_the_figures_fit_small_and_large_disks(
    total: int, limit: int, reserve: int, ballast: int
) -> None:
    space = Space(total, total)
    assert (StorageSettings().limit(space), space.reserve, space.ballast) == (
        limit, reserve, ballast,
    )  # fmt: skip


def test_the_smaller_limit_holds_and_the_reserve_in_any_case() -> None:
    space = Space(1_000_000_000, 500_000_000)
    assert StorageSettings(max_mb=200).limit(space) == 200_000_000
    assert StorageSettings(max_mb=900).limit(space) == 500_000_000
    assert StorageSettings(max_share=1.0).limit(space) == 950_000_000
    assert StorageSettings(max_share=1e-6).limit(space) == 4 * MIB


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_share": 0.0},
        {"max_share": 1.1},
        {"max_mb": -1.0},
        {"max_mb": 9.0},
        {"max_mb": math.inf},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        StorageSettings(**wrong)


# Keeping within


def test_within_its_share_nothing_is_read_or_dropped(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round without work walks no folder and asks the database for nothing."""
    for seq in range(1, 50):
        rig.event(seq)
    quota = rig.quota()
    rig.settle(quota)
    monkeypatch.setattr(os, "listdir", None)
    monkeypatch.setattr(os, "scandir", None)
    quota._measure = lambda folder: Space(rig.total, rig.total)
    asked: list[str] = []
    rig.connection.set_trace_callback(asked.append)
    assert quota.enforce() == 0
    assert asked == []


def test_over_its_share_the_cheapest_go_and_are_counted(rig: Rig) -> None:
    """100 deer, 60 boars, 5 wolves; two in five pictures must go: deer and boars even out, and
    every row is still there."""
    for seq in range(1, 101):
        rig.event(seq, "deer")
    for seq in range(101, 161):
        rig.event(seq, "boar")
    for seq in range(161, 166):
        rig.event(seq, "wolf", 0.81)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 60 * BLOCK
    dropped = rig.settle(quota)
    left = Counter(rig.column("SELECT label FROM events WHERE snapshot != ''"))
    assert quota.used <= quota.limit
    assert left["wolf"] == 5
    assert abs(left["deer"] - left["boar"]) <= 1
    assert 60 <= dropped == 165 - sum(left.values()) <= 60 + SLACK
    assert rig.column("SELECT count(*) FROM events") == [165]
    assert set(rig.column("SELECT picture_bytes FROM events WHERE snapshot = ''")) == {GONE}
    assert rig.counters() == {"pictures dropped": dropped}
    rig.check()


def test_the_best_of_each_label_stay_to_the_last(rig: Rig) -> None:
    """The oldest pictures are the best here: they stay, and newer ones go."""
    for seq in range(1, 101):
        rig.event(seq, score=0.99 if seq <= KEPT else 0.95)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 75 * BLOCK
    rig.settle(quota)
    assert set(range(1, KEPT + 1)) <= set(rig.with_picture())


def test_the_values_go_in_their_order(rig: Rig) -> None:
    """Blank samples, common ones, uncertain ones, rare ones; at last only the marked are left."""
    with rig.at_once():
        for seq in range(1, 41):
            rig.event(seq, "deer", 0.99)
            rig.event(100 + seq, "deer", 0.82)
        for seq in range(201, 206):
            rig.event(seq, "wolf", marked=seq == 201)
        for number in range(1, 6):
            rig.sample(number, "empty", kind="uncertain")
    quota = rig.quota()
    rig.settle(quota)
    seen: list[str] = []
    while quota.dropped.pictures < 84:
        quota.limit = quota.used - 1
        rig.settle(quota)
        left = Counter(
            rig.column(
                "SELECT CASE WHEN label != 'deer' THEN label WHEN score > 0.9 THEN 'sure' "
                "ELSE 'unsure' END FROM events WHERE snapshot != ''"
            )
        )
        left["blank"] = int(str(rig.column("SELECT count(*) FROM samples")[0]))
        state = [name for name, most in (("blank", 0), ("sure", KEPT), ("unsure", 0), ("wolf", 1))
                 if left[name] <= most]  # fmt: skip
        if not seen or " ".join(state) != seen[-1]:
            seen.append(" ".join(state))
    assert seen[-1] == "blank sure unsure wolf"
    order = [next(i for i, s in enumerate(seen) if name in s) for name in
             ("blank", "sure", "unsure", "wolf")]  # fmt: skip
    assert order == sorted(order)
    assert rig.with_picture() == [201]
    assert rig.counters() == {"pictures dropped": 84, "samples dropped": 5}
    rig.check()


def test_clips_go_before_snapshots(rig: Rig) -> None:
    """And what is left is what the row says."""
    for seq in range(1, 61):
        rig.event(seq, picture=5000, clip=40_000)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 30 * 40_000
    rig.settle(quota)
    assert len(rig.with_picture()) == 60
    clips = rig.column("SELECT seq FROM events WHERE clip != ''")
    assert 20 <= len(clips) < 30
    assert set(rig.column("SELECT picture_bytes FROM events WHERE clip = ''")) == {5000}
    assert rig.counters() == {"clips dropped": 60 - len(clips)}
    rig.check()


def test_what_a_person_marked_stays_whatever_happens(rig: Rig) -> None:
    """Also where it was marked after its turn had come."""
    for seq in range(1, 51):
        rig.event(seq)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 1
    rig.settle(quota)  # the order of all that goes is known now
    rig.connection.execute("UPDATE events SET marked = 1 WHERE seq BETWEEN 10 AND 40")
    quota.limit = 1
    rig.settle(quota)
    assert rig.with_picture() == list(range(10, 41))
    rig.check()


def test_a_clip_that_comes_later_is_counted(rig: Rig) -> None:
    """It is written some seconds after its event."""
    for seq in range(1, 11):
        rig.event(seq, picture=BLOCK if seq != 3 else 0)
    quota = rig.quota()
    rig.settle(quota)
    before = quota.used
    for seq in (3, 5):
        name = rig.file(f"clips/{seq:06d}.avi", 10 * BLOCK)
        rig.connection.execute(
            "UPDATE events SET clip = ?, picture_bytes = picture_bytes + ? WHERE seq = ?",
            (name, 10 * BLOCK, seq),
        )
    rig.settle(quota)
    assert 20 * BLOCK <= quota.used - before <= 22 * BLOCK
    quota.limit = quota.used - 15 * BLOCK
    rig.settle(quota)
    assert rig.counters()["clips dropped"] == 2
    rig.check()


def test_old_events_that_were_changed_are_looked_at_again(rig: Rig) -> None:
    """A clip for, and the mark of, one of more than 200 events ago: the writer tells of both."""
    with rig.at_once():
        for seq in range(1, 401):
            rig.event(seq, picture=0 if seq > 2 else BLOCK, marked=seq == 1)
    quota = rig.quota()
    rig.settle(quota)
    before = quota.used
    name = rig.file("clips/000002.avi", 10 * BLOCK)
    rig.connection.execute(
        "UPDATE events SET clip = ?, picture_bytes = ? WHERE seq = 2", (name, 11 * BLOCK)
    )
    rig.connection.execute("UPDATE events SET marked = 0 WHERE seq = 1")
    rig.event(401)
    quota.changed([1, 2, 401, 999])
    rig.settle(quota)
    assert 12 * BLOCK <= quota.used - before <= 14 * BLOCK
    quota.limit = 1
    rig.settle(quota)
    assert rig.with_picture() == []
    counters = rig.counters()
    assert (counters["pictures dropped"], counters["clips dropped"]) == (3, 1)
    rig.check()


def test_rows_of_an_older_release_are_measured(rig: Rig) -> None:
    """It kept no sizes."""
    rig.event(1, picture=50_000, said_bytes=0)
    quota = rig.quota()
    rig.settle(quota)
    assert quota.used > 50_000


def test_samples_that_others_delete_are_noticed(rig: Rig) -> None:
    """They have a budget of their own; nothing is dropped on account of those that are gone."""
    for number in range(1, 31):
        rig.sample(number, "deer")
    for seq in range(1, 31):
        rig.event(seq)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 10 * BLOCK
    for number in range(1, 21):
        (rig.folder / f"samples/{number}.jpg").unlink()
    rig.connection.execute("DELETE FROM samples WHERE id <= 20")
    assert rig.settle(quota) == 0


def test_others_with_a_budget_of_their_own_drop_through_the_quota(rig: Rig) -> None:
    """Counted like everything else; what is gone already is no trouble."""
    for number in range(1, 101):
        rig.sample(number, "deer")
    quota = rig.quota()
    rig.settle(quota)
    before = quota.used
    assert quota.give_up("samples", [*range(1, 81), 3, 999]) == 80
    assert quota.used == before - 80 * BLOCK
    assert rig.counters() == {"samples dropped": 80}
    rig.check()


def test_the_counters_go_on_over_restarts(rig: Rig) -> None:
    for seq in range(1, 101):
        rig.event(seq)
    total = 0
    for _ in range(2):
        quota = rig.quota()
        rig.settle(quota)
        quota.limit = quota.used - 1
        total += rig.settle(quota)
        assert rig.counters() == {"pictures dropped": total}


def test_nothing_is_dropped_or_counted_twice(rig: Rig) -> None:
    """Also where the order is made anew in the middle, as new pictures come all the time."""
    with rig.at_once():
        for seq in range(1, 31):
            rig.event(seq, score=0.85)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = 1
    for seq in range(31, 91):
        rig.event(seq, score=0.85)
        rig.now_s += 61
        quota.enforce()
    rig.settle(quota)
    assert rig.with_picture() == []
    assert rig.counters()["pictures dropped"] == quota.dropped.pictures == 90


# Others use the disk too


def test_to_others_it_gives_way_with_what_is_worth_least(rig: Rig) -> None:
    """60 common, 30 uncertain: the reserve is gone, and all but the best of the common go."""
    with rig.at_once():
        for seq in range(1, 61):
            rig.event(seq, score=0.99)
        for seq in range(61, 91):
            rig.event(seq, score=0.85)
    quota = rig.quota()
    rig.settle(quota)
    rig.others = rig.total
    rig.settle(quota)
    assert rig.with_picture() == list(range(41, 91))


def test_where_nothing_cheap_is_left_it_stops_growing(rig: Rig) -> None:
    """Each new picture takes the place of one that is worth no more; the rest stays."""
    with rig.at_once():
        for seq in range(1, 41):
            rig.event(seq, score=0.85)
    quota = rig.quota()
    rig.settle(quota)
    rig.others = rig.total
    rig.settle(quota)
    held = quota.used
    for seq in range(41, 61):
        rig.event(seq, score=0.85)
        rig.settle(quota)
        assert quota.used <= held + BLOCK
    assert len(rig.with_picture()) >= 30
    rig.check()


def test_room_for_what_waits_is_made_at_once(rig: Rig) -> None:
    """At ENOSPC the ballast goes first, comes back, and so much is free as was asked for."""
    with rig.at_once():
        for seq in range(1, 301):
            rig.event(seq, picture=100 * BLOCK)
    quota = rig.quota()
    rig.settle(quota)
    rig.others = rig.total - (rig.total - rig.space(rig.folder).free)
    assert rig.space(rig.folder).free == 0
    assert quota.make_room(2_000_000) > 0
    assert rig.space(rig.folder).free >= 2_000_000
    assert quota.ballast.size == Space(rig.total, 0).ballast
    rig.check()


def test_room_is_made_of_what_came_since_the_last_round(rig: Rig) -> None:
    """While the disk is full there are no rounds."""
    quota = rig.quota()
    rig.settle(quota)
    with rig.at_once():
        for seq in range(1, 31):
            rig.event(seq, picture=100 * BLOCK)
    rig.others = rig.total
    rig.now_s += 5
    assert quota.make_room(100_000) > 0


def test_a_runaway_program_is_not_fed(tmp_path: Path) -> None:
    """It takes all that is freed: in an hour it gets a dozen helpings, not one every second."""
    rig = Rig(tmp_path, total=1_000_000_000)
    with rig.at_once():
        for seq in range(1, 301):
            rig.event(seq, picture=500_000)
    quota = rig.quota()
    rig.settle(quota)
    rig.others = rig.space(rig.folder).free
    kept = rig.space

    def taken(folder: Path) -> Space:
        rig.others += kept(folder).free
        return kept(folder)

    quota._measure = taken
    for _ in range(1800):
        rig.now_s += 2
        quota.make_room(100_000)
    assert 200 <= len(rig.with_picture()) < 300
    quota._measure = kept
    rig.others -= 500_000_000
    rig.settle(quota)
    assert quota.ballast.size > 0
    rig.others = rig.total
    assert quota.make_room(100_000) > 0, "the runaway is gone: no more waiting"
    rig.connection.close()


def test_a_quota_of_the_user_s_is_met_by_dropping(rig: Rig) -> None:
    """The disk has room, and says so, but not for this user: first the ballast goes, then, as no
    other comes in its place, pictures."""
    with rig.at_once():
        for seq in range(1, 301):
            rig.event(seq, picture=10 * BLOCK)
    quota = rig.quota()
    rig.settle(quota)
    quota.ballast.restore = lambda space: None  # type: ignore[method-assign]
    assert quota.make_room(100_000) == 0
    assert quota.ballast.size == 0
    assert quota.make_room(100_000) * 10 * BLOCK >= 100_000
    rig.check()


# Rows


def grown(rig: Rig, *, unsent_from: int = 1 << 40) -> None:
    """A database of 1.4 MB: 600 events without pictures, of which 60 are wolves."""
    with rig.at_once():
        for seq in range(1, 601):
            label = "wolf" if seq % 10 == 0 else "deer"
            rig.event(seq, label, picture=0, trace=2000, marked=seq == 7)
            if seq >= unsent_from:
                rig.connection.execute("INSERT INTO outbox (kind, ref) VALUES ('event', ?)", (seq,))


def test_rows_go_only_when_the_database_is_beyond_its_half(rig: Rig) -> None:
    """The label that has most gives its oldest; the marked and the newest stay."""
    grown(rig)
    quota = rig.quota()
    rig.settle(quota)
    assert rig.counters() == {}
    quota.limit = 2_000_000
    rig.settle(quota)
    left = [int(str(seq)) for seq in rig.column("SELECT seq FROM events ORDER BY seq")]
    assert {7, 600} <= set(left)
    assert rig.column("SELECT count(*) FROM events WHERE label = 'wolf'") == [60]
    assert rig.counters() == {"events dropped": 600 - len(left)}
    assert 0 < 600 - len(left) < 600


def test_what_was_not_sent_goes_last(rig: Rig) -> None:
    """Down to the unsent first, then, where the database is still too large, these too, counted."""
    grown(rig, unsent_from=551)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = 600_000
    rig.settle(quota)
    left = [int(str(seq)) for seq in rig.column("SELECT seq FROM events ORDER BY seq")]
    assert set(range(551, 601)) <= set(left)
    quota.limit = 1
    rig.settle(quota)
    assert rig.column("SELECT seq FROM events ORDER BY seq") == [7, 600]
    assert rig.counters() == {"events dropped": 598, "unsent events dropped": 49}


def test_old_health_goes_before_any_event(rig: Rig) -> None:
    """The newest thousand stay."""
    grown(rig)
    with rig.at_once():
        for _ in range(1800):
            rig.connection.execute(
                "INSERT INTO health VALUES (NULL, 1, 0, 0, '', '', 0, 'black', 0, ?)", ("d" * 300,)
            )
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = 2 * (rig.folder / "events.db").stat().st_size - 400_000
    rig.settle(quota)
    assert rig.column("SELECT count(*) FROM health WHERE seq > 800") == [1000]
    counters = rig.counters()
    assert counters["health records dropped"] >= 500
    assert "events dropped" not in counters


def many_runs(rig: Rig, *, count: int, ended: bool = True) -> None:
    """A crash loop: from run 11 on one run every 20 s, each alive for 10 s; after run 1500 nobody
    started it for a day."""
    with rig.at_once():
        for run in range(11, 11 + count):
            began_ms = run * 20_000 + (86_400_000 if run > 1500 else 0)
            rig.connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, 0, 'b', 'synchronized', 0, 'rtsp://camera', "
                "'m', '', '', ?)",
                (run, run, began_ms, began_ms + 10_000 if ended else None, "{}" + " " * 500),
            )


@pytest.mark.parametrize("ended", [True, False])
def test_old_runs_that_saw_nothing_become_one_and_what_was_watched_stays(
    rig: Rig, ended: bool
) -> None:
    """Not the newest thousand, not those that an event or a sample names, nor one after a gap."""
    many_runs(rig, count=4000, ended=ended)
    for seq, run in enumerate((700, 1600, 2900, 4010), 1):
        rig.event(seq, picture=0)
        rig.connection.execute("UPDATE events SET run = ? WHERE seq = ?", (run, seq))
    rig.sample(1, "deer")
    rig.connection.execute("UPDATE samples SET run = 2000")
    quota = rig.quota()
    rig.settle(quota)
    before = read_watched(rig.folder, now_ms=1 << 40)
    assert len(before.watches) == (2 if ended else 1)
    assert rig.counters() == {}
    quota.limit = 1
    for _ in range(4):
        rig.settle(quota)
    left = [int(str(run)) for run in rig.column("SELECT run FROM runs ORDER BY run")]
    after_gap = [1501] if ended else []
    assert left == [1, 11, 700, *after_gap, 1600, 2000, 2900, *range(3010, 4011)]
    watches = [(watch.from_ms, watch.to_ms) for watch in before.watches]
    after = read_watched(rig.folder, now_ms=1 << 40).watches
    assert [(watch.from_ms, watch.to_ms) for watch in after] == watches


def test_few_runs_all_stay(rig: Rig) -> None:
    many_runs(rig, count=900)
    quota = rig.quota()
    quota.limit = 1
    rig.settle(quota)
    assert rig.column("SELECT count(*) FROM runs") == [901]


# What no row names


def test_orphans_go_at_the_next_start_and_new_files_stay(rig: Rig) -> None:
    """A kill between row and file, either way round; a file written after the start is not looked
    at, whatever the clock says of it."""
    for seq in range(1, 30):
        rig.event(seq)
    rig.file("snapshots/000999.jpg", 10)
    rig.file("clips/000005.avi", 10)
    rig.file("samples/77.jpg", 10)
    quota = rig.quota()
    fresh = rig.folder / "snapshots" / "001000.jpg"
    fresh.write_bytes(b"its row comes in a moment")
    os.utime(fresh, (0, 0))
    rig.settle(quota)
    assert fresh.exists()
    fresh.unlink()
    rig.check()


def test_a_file_that_could_not_be_removed_is_removed_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row goes first: a kill leaves a file without a row, never a row without a file."""
    for seq in range(1, 60):
        rig.event(seq)
    quota = rig.quota()
    rig.settle(quota)
    quota.limit = quota.used - 5 * BLOCK

    def killed(self: Path, missing_ok: bool = False) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        assert rig.settle(quota) > 0
    with pytest.raises(AssertionError):
        rig.check()
    rig.settle(rig.quota())
    rig.check()


def test_pictures_of_a_damaged_database_stay_until_the_room_is_needed(rig: Rig) -> None:
    """They are counted, and go before those that the store itself knows, oldest first."""
    (rig.folder / "events.db.damaged-20260101T000000Z").write_bytes(b"x" * 10_000)
    for number in range(30):
        rig.file(f"snapshots/old-{number:02d}.jpg", BLOCK)
    for seq in range(1, 30):
        rig.event(seq)
    quota = rig.quota()
    rig.settle(quota)
    assert len(os.listdir(rig.folder / "snapshots")) == 59
    quota.limit = quota.used - 10 * BLOCK
    rig.settle(quota)
    left = sorted(p.name for p in (rig.folder / "snapshots").glob("old-*"))
    assert left[-1] == "old-29.jpg"
    assert 20 - SLACK <= len(left) <= 20
    assert len(rig.with_picture()) == 29
    assert rig.counters() == {"pictures dropped": 30 - len(left)}


def test_damaged_databases_are_kept_within_a_bound_and_the_largest_always(tmp_path: Path) -> None:
    """A crash loop must not fill the card with them; where there is room for all, all stay."""
    path = tmp_path / "events.db"
    for number, blocks in enumerate((1, 50, 3, 2, 40, 1)):
        (tmp_path / f"{path.name}.damaged-{number}").write_bytes(b"x" * (blocks * BLOCK - 1))
    (tmp_path / f"{path.name}.damaged-1-wal").write_bytes(b"x" * 7)
    assert trim(path, 98 * BLOCK) == 98 * BLOCK
    assert len(list(tmp_path.iterdir())) == 7
    assert trim(path, 94 * BLOCK) == 94 * BLOCK
    assert sorted(p.name[-5:] for p in tmp_path.iterdir()) == ["1-wal", "ged-1", "ged-2", "ged-4"]
    assert trim(path, 100) == 51 * BLOCK


@pytest.mark.parametrize("how", ["emptied", "moved away"])
def test_a_database_that_is_gone_does_not_take_its_pictures_along(how: str, tmp_path: Path) -> None:
    """They stay over all starts until the room is needed; orphans are swept again after that."""
    Rig(tmp_path).connection.close()
    for number in range(30):
        (tmp_path / f"snapshots/old-{number:02d}.jpg").write_bytes(b"x" * BLOCK)
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    if how == "emptied":
        (tmp_path / "events.db").touch()
    for start in range(1, 4):
        rig = Rig(tmp_path)
        with closing(rig.connection):
            rig.settle(quota := rig.quota())
            assert len(list((tmp_path / "snapshots").glob("old-*"))) == 30
            rig.event(start, marked=True)
            rig.settle(quota)
            if start == 3:
                quota.limit = quota.used - 30 * BLOCK
            rig.settle(quota)
    assert not list((tmp_path / "snapshots").glob("old-*"))
    rig = Rig(tmp_path)
    with closing(rig.connection):
        rig.file("snapshots/orphan.jpg", BLOCK)
        rig.settle(rig.quota())
        rig.check()
        assert len(rig.with_picture()) == 3


# The ballast


def test_the_ballast_is_really_allocated(tmp_path: Path) -> None:
    ballast, space = Ballast(tmp_path), Space(100 * MIB, 50 * MIB)
    ballast.restore(space)
    found = (tmp_path / "ballast").stat()
    assert (found.st_size, found.st_blocks * 512) == (MIB, MIB)
    assert ballast.release()
    assert not ballast.release()


def test_the_ballast_comes_back_only_where_there_is_twice_the_room(tmp_path: Path) -> None:
    """It must never be what fills the disk."""
    ballast = Ballast(tmp_path)
    ballast.restore(Space(100 * MIB, 2 * MIB - 1))
    assert ballast.size == 0
    ballast.restore(Space(100 * MIB, 2 * MIB))
    assert ballast.size == MIB


@pytest.mark.parametrize(("total", "most"), [(2 * MIB, 64 * 1024), (1 << 40, 4_096_000)])
def test_the_log_of_a_small_disk_is_small(tmp_path: Path, total: int, most: int) -> None:
    """SQLite's own rule is 4 MB, twice the whole disk."""
    rig = Rig(tmp_path, total=total)
    with closing(rig.connection):
        rig.quota()
        for seq in range(1, 1500):
            rig.event(seq, picture=0, trace=2000)
        assert (tmp_path / "events.db-wal").stat().st_size <= most * 1.1
