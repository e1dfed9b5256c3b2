"""Samples for labelling: which frames, within which budget, and how a person gets them."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightpost_edge.clock import Reading
from sightpost_edge.errors import ConfigError
from sightpost_edge.image import JpegImage, as_jpeg
from sightpost_edge.pixels import Region, read_photo
from sightpost_edge.records import Prediction
from sightpost_edge.samples import (
    Kept,
    copy_samples,
    folder_name,
    over_budget,
    pending_sample,
    read_samples,
    to_delete,
)
from sightpost_edge.sampling import HOUR_S, Sample, Sampler, SampleSettings
from sightpost_edge.store import EventStore
from sightpost_edge.testing import EPOCH, colour, frame

from ..conftest import Cli

LABELS = ("deer", "empty", "fox")
PIXELS = colour("red")
SURE, UNSURE = (0.02, 0.03, 0.95), (0.45, 0.05, 0.5)
NOW = Reading(1_780_000_000_000, 2_000_000_000_000, "synchronized", "boot")


def look(
    at_s: float, scores: Sequence[float] = SURE, *, novel: bool = False, carried: bool = False,
    region: str = "", name: str = "",
) -> Prediction:  # fmt: skip
    row = np.array(scores, np.float32)
    best = int(row.argmax())
    shot = frame(PIXELS, index=round(at_s * 10), elapsed_s=at_s, name=name)
    return Prediction(
        shot, LABELS[best], float(row[best]), row, novelty=0.7 if novel else 0.1, novel=novel,
        region=region, carried=carried,
    )  # fmt: skip


def sampler(*, per_hour: float = 12.0, max_mb: float = 200.0, **options: object) -> Sampler:
    settings = SampleSettings(max_mb=max_mb, per_hour=per_hour)
    return Sampler(settings, labels=LABELS, seed=5, **options)  # type: ignore[arg-type]


def taken(made: Sampler, looks: Sequence[Prediction]) -> list[Sample]:
    return [sample for one in looks if (sample := made.see(one)) is not None]


def kinds(samples: Sequence[Sample]) -> Counter[str]:
    return Counter(sample.kind for sample in samples)


# Which frames


def test_a_close_second_is_uncertain_and_a_clear_lead_is_not() -> None:
    """The lead of the best label over the next, below 0.3."""
    (sample,) = taken(sampler(), [look(0.0), look(1.0, UNSURE), look(2.0)])
    assert (sample.kind, sample.label, sample.frame.elapsed_s) == ("uncertain", "fox", 1.0)
    assert sample.score == pytest.approx(0.5)
    assert sample.scores == {"fox": 0.5, "deer": 0.45, "empty": 0.05}
    assert not taken(sampler(), [look(0.0, (0.34, 0.0, 0.66))])


def test_independent_scores_are_uncertain_each_by_itself() -> None:
    """0.9 and 0.85 are two animals that are both there; 0.6 is one that may be."""
    several = sampler(multi_label=True)
    assert not taken(several, [look(0.0, (0.9, 0.01, 0.85))])
    assert kinds(taken(several, [look(1.0, (0.9, 0.01, 0.6))])) == {"uncertain": 1}


def test_what_is_unlike_everything_known_is_novel() -> None:
    """Also where the model is sure, and before it counts as uncertain."""
    (sure,) = taken(sampler(), [look(0.0, novel=True)])
    (both,) = taken(sampler(), [look(0.0, UNSURE, novel=True)])
    assert sure.kind == both.kind == "novel"
    assert sure.novelty == 0.7


def test_scores_that_were_carried_on_are_no_sample() -> None:
    """They are another picture's."""
    assert not taken(sampler(), [look(0.0, UNSURE, carried=True, novel=True)])


def test_photos_of_a_folder_are_no_samples() -> None:
    looks = [look(float(i), UNSURE, novel=True, name=f"{i}.jpg") for i in range(5000)]
    assert not taken(sampler(), looks)


def test_a_bad_hour_does_not_fill_the_card() -> None:
    """Three hours of nothing but doubt: twelve of each kind in any hour, half a minute apart."""
    looks = [look(i / 2, UNSURE, novel=i % 2 == 0) for i in range(3 * 7200)]
    found = taken(sampler(), looks)
    for kind in ("uncertain", "novel"):
        times = [s.frame.elapsed_s for s in found if s.kind == kind]
        assert len(times) == 36
        assert min(np.diff(times)) >= 30
        assert all(len([t for t in times if a <= t < a + HOUR_S]) <= 12 for a in times)


def test_a_high_rate_is_not_held_back_by_the_spacing() -> None:
    """Whoever asks for 600 an hour gets them."""
    found = taken(sampler(per_hour=600.0), [look(float(i), UNSURE) for i in range(3600)])
    assert kinds(found)["uncertain"] == 600


def test_none_are_taken_without_a_budget() -> None:
    looks = [look(float(i), UNSURE, novel=True) for i in range(7200)]
    assert not taken(sampler(max_mb=0.0), looks)


def test_random_ones_come_at_their_rate_whatever_the_scores() -> None:
    """In 20 hours 2,400 on average, give or take three deviations, of sure and unsure alike."""
    unsure = np.random.default_rng(3).random(72_000) < 0.25
    rows = (SURE, UNSURE)
    made, drawn = sampler(per_hour=120.0), []
    for index, doubt in enumerate(unsure):
        found = made.see(look(float(index), rows[int(doubt)]))
        if found is not None and found.kind == "random":
            drawn.append(found)
    assert len(drawn) == pytest.approx(2400, abs=3 * 2400**0.5)
    share = np.mean([sample.score < 0.9 for sample in drawn])
    assert share == pytest.approx(0.25, abs=3 * (0.25 * 0.75 / 2400) ** 0.5)


def test_random_ones_count_time_not_looks() -> None:
    """Still for 18 s with one look every two seconds, then moving for 2 s at ten looks a second:
    a tenth of the time, but two thirds of the looks. The draw follows the time."""
    made, drawn = sampler(per_hour=120.0), []
    for passage in range(2500):
        base = passage * 20.0
        looks = [look(base + i, carried=i % 2 == 1) for i in range(18)]
        looks += [look(base + 18 + i / 10, (0.9, 0.05, 0.05)) for i in range(20)]
        drawn += [s for s in taken(made, looks) if s.kind == "random"]
    assert len(drawn) > 1400
    share = np.mean([sample.label == "deer" for sample in drawn])
    assert share == pytest.approx(0.1, abs=0.02)


def test_a_random_sample_is_what_was_said_at_that_moment() -> None:
    """While scores are carried on, it is the look that they came from, and that once only."""
    made = sampler(per_hour=60.0)
    looks = [look(0.0, (0.9, 0.05, 0.05)), *(look(i / 10, carried=True) for i in range(1, 6000))]
    (drawn,) = taken(made, looks)
    assert (drawn.kind, drawn.label, drawn.frame.elapsed_s) == ("random", "deer", 0.0)


def test_one_picture_is_drawn_once_whatever_its_regions() -> None:
    """Their files would have one name."""
    regions = (Region("left", width=0.5), Region("right", x=0.5, width=0.5))
    made = sampler(per_hour=3600.0, regions=regions)
    here = look(0.0, region="left")
    both = [here, replace(here, region="right")]
    still = [
        replace(look(float(i), carried=True), region=region)
        for i in range(1, 100)
        for region in ("left", "right")
    ]
    assert len(taken(made, both + still)) == 1


def test_nothing_is_drawn_from_a_blind_time() -> None:
    """Ten minutes without any picture: what was there before does not stand for them."""
    made = sampler(per_hour=3600.0)
    made.see(look(0.0))
    assert made.see(look(600.0)) is None


def test_a_source_that_begins_again_is_sampled_again() -> None:
    made = sampler()
    assert made.see(look(1000.0, UNSURE)) is not None
    assert made.see(look(0.0, UNSURE)) is not None


def test_each_region_has_its_chance_and_its_picture() -> None:
    """The picture of a sample is what the model saw: the region, for the label is about it."""
    regions = (Region("left", width=0.5), Region("right", x=0.5, width=0.5))
    made = sampler(per_hour=1800.0, regions=regions)
    looks = [look(float(i), region=name) for i in range(2000) for name in ("left", "right")]
    drawn = taken(made, looks)
    shares = Counter(sample.region.name for sample in drawn)
    assert shares["left"] / len(drawn) == pytest.approx(0.5, abs=0.06)
    image = drawn[0].image()
    assert (image.width, image.height) == (32, 48)


def test_a_whole_picture_is_kept_bit_for_bit() -> None:
    """A camera's JPEG is not encoded a second time."""
    encoded = cv2.imencode(".jpg", colour("blue"))[1].tobytes()
    shot = replace(look(0.0, UNSURE).frame, image=JpegImage(encoded))
    (sample,) = taken(sampler(), [replace(look(0.0, UNSURE), frame=shot)])
    assert as_jpeg(sample.image()) is encoded


@pytest.mark.parametrize(
    "wrong", [{"max_mb": -1.0}, {"max_mb": float("inf")}, {"per_hour": 0.0}, {"per_hour": 4e3}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^samples: "):
        SampleSettings(**wrong)


# The budget


def kept(number: int, kind: str, label: str, size: int = 100) -> Kept:
    return Kept(number, kind, label, f"samples/{kind}-{number}.jpg", size)


def test_nothing_goes_within_the_budget() -> None:
    assert to_delete([kept(i, "novel", "fox") for i in range(10)], 1000) == []


def test_the_most_numerous_label_of_the_most_numerous_kind_goes_oldest_first() -> None:
    """Six doubts about deer, two about foxes, four novelties: deer give, and in the end all are
    even."""
    stock = [kept(i, "uncertain", "deer") for i in range(6)]
    stock += [kept(10 + i, "uncertain", "fox") for i in range(2)]
    stock += [kept(20 + i, "novel", "deer") for i in range(4)]
    assert [one.id for one in to_delete(stock, 800)] == [0, 1, 2, 3]
    left = {one.id for one in stock} - {one.id for one in to_delete(stock, 400)}
    assert left == {5, 11, 22, 23}


def test_random_ones_stay_random_however_often_room_is_made() -> None:
    """2,000 come one after the other into room for 200: of each quarter of the time about as many
    are left, though the first has been thinned out a thousand times."""
    stock: list[Kept] = []
    for number in range(2000):
        stock.append(kept(number, "random", "fox" if number % 3 else "deer"))
        gone = {one.id for one in to_delete(stock, 200 * 100)}
        stock = [one for one in stock if one.id not in gone]
    assert len(stock) == 200
    quarters = Counter(one.id // 500 for one in stock)
    assert all(30 <= quarters[quarter] <= 70 for quarter in range(4))
    deer = sum(one.label == "deer" for one in stock)
    assert 46 <= deer <= 88  # a third, give or take three deviations


def test_an_empty_budget_takes_everything() -> None:
    stock = [kept(1, "random", "fox"), kept(2, "novel", "fox"), kept(3, "of a later release", "x")]
    assert {one.id for one in to_delete(stock, 0)} == {1, 2, 3}


# In the store


def filled(folder: Path) -> list[Sample]:
    """A store with a doubt, a novelty and a random one."""
    made = [
        Sample("uncertain", look(1.0).frame, "fox", 0.5, {"fox": 0.5, "deer": 0.45}, 0.1),
        Sample("novel", look(2.0).frame, "fox", 0.9, {"fox": 0.9}, 0.8, Region("gate", width=0.5)),
        Sample("random", look(3.0).frame, "empty/dark", 0.7, {"empty/dark": 0.7}),
    ]
    with EventStore(
        folder, source="camera", model="m", model_digest="abc", live=True, read_clock=lambda: NOW
    ) as store:
        store.write_all([
            pending_sample(one, store.read_clock(), store.run, live=True) for one in made
        ])  # fmt: skip
    return made


def test_a_sample_is_kept_with_its_scores_and_its_picture(tmp_path: Path) -> None:
    filled(tmp_path)
    doubt, novel, drawn = read_samples(tmp_path)
    assert [one.kind for one in (doubt, novel, drawn)] == ["uncertain", "novel", "random"]
    assert (doubt.label, doubt.score, doubt.scores) == ("fox", 0.5, {"fox": 0.5, "deer": 0.45})
    assert (novel.novelty, novel.region, drawn.novelty) == (0.8, "gate", None)
    assert (doubt.model_digest, doubt.clock_quality) == ("abc", "synchronized")
    # Taken 1,999 s before the clocks were read.
    assert doubt.at == "2026-05-28T19:53:21.000+00:00"
    assert read_photo(tmp_path / doubt.file).shape == (48, 64, 3)
    assert read_photo(tmp_path / novel.file).shape == (48, 32, 3)
    assert doubt.bytes == (tmp_path / doubt.file).stat().st_size


def test_a_recordings_samples_have_the_recordings_times() -> None:
    sample = Sample("novel", look(2.0).frame, "fox", 0.9, {})
    row = pending_sample(sample, NOW, 1, live=False).row
    assert row["clock_quality"] == "recording"
    assert row["at_ms"] == round(EPOCH.timestamp() * 1000) + 2000


def test_samples_are_found_by_kind_and_label(tmp_path: Path) -> None:
    filled(tmp_path)
    assert [one.id for one in read_samples(tmp_path, label="fox")] == [1, 2]
    assert [one.id for one in read_samples(tmp_path, label="fox", kind="novel")] == [2]


def test_the_store_says_what_goes_when_the_budget_is_spent(tmp_path: Path) -> None:
    filled(tmp_path)
    store = EventStore(tmp_path, source="camera", model="m", model_digest="abc")
    with closing(store):
        total = sum(one.bytes for one in read_samples(tmp_path))
        assert over_budget(store.connection, total) == []
        (gone,) = over_budget(store.connection, total - 1)
        assert (tmp_path / gone.file).exists()


# A person


def listing(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "samples.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_copies_lie_in_a_folder_for_each_label(tmp_path: Path) -> None:
    """With what the model said beside them."""
    filled(tmp_path)
    to = tmp_path / "photos"
    assert copy_samples(tmp_path, read_samples(tmp_path), to).new == 3
    assert sorted(path.name for path in to.iterdir()) == ["empty_dark", "fox", "samples.csv"]
    rows = listing(to)
    assert all((to / name).is_file() for name in rows)
    (novel,) = (row for row in rows.values() if row["kind"] == "novel")
    assert novel["label"] == "fox"
    assert json.loads(novel["scores"]) == {"fox": 0.9}
    assert (novel["region"], novel["clock_quality"]) == ("gate", "synchronized")
    assert novel["model_digest"] == "abc"
    assert novel["time"] == "2026-05-28T19:53:22.000+00:00"


def test_what_a_person_has_moved_stays_there(tmp_path: Path) -> None:
    """Copying again brings only what is new, and forgets nothing of what the store let go."""
    filled(tmp_path)
    to, found = tmp_path / "photos", read_samples(tmp_path)
    copy_samples(tmp_path, found, to)
    (to / "wolf").mkdir()
    picture = next((to / "fox").iterdir())
    picture.rename(to / "wolf" / picture.name)
    copied = copy_samples(tmp_path, found[1:], to)
    assert (copied.new, copied.there) == (0, 2)
    assert not (to / "fox" / picture.name).exists()
    assert len(listing(to)) == 3


def test_a_picture_that_went_meanwhile_is_said(tmp_path: Path) -> None:
    """The run spends its budget while somebody copies."""
    filled(tmp_path)
    found = read_samples(tmp_path)
    (tmp_path / found[0].file).unlink()
    copied = copy_samples(tmp_path, found, tmp_path / "photos")
    assert (copied.new, copied.there, copied.gone) == (2, 0, 1)
    assert len(listing(tmp_path / "photos")) == 2


@pytest.mark.parametrize(
    ("label", "name"),
    [("fox", "fox"), ("Reh/Hirsch", "Reh_Hirsch"), (".", "_"), ("..", "_."), ("a|b", "a_b"),
     ("", "_"), ("Rotfuchs (jung)", "Rotfuchs (jung)")],
)  # fmt: skip
def test_every_label_makes_a_folder(label: str, name: str) -> None:
    assert folder_name(label) == name


def test_the_workshop_reads_the_copies(tmp_path: Path) -> None:
    """The folder that was put right is what sightpost train takes: classes, and no stray file."""
    from sightpost_train.listing import read_listing

    filled(tmp_path)
    to = tmp_path / "photos"
    copy_samples(tmp_path, read_samples(tmp_path), to)
    found = read_listing(to)
    assert found.labels == ("empty_dark", "fox")
    assert len(found.photos) == 3
    assert found.left_out == ()


def test_the_command_lists_and_copies(tmp_path: Path, cli: Cli) -> None:
    """``sightpost events samples`` as people call it."""
    filled(tmp_path)
    listed = cli("events", "samples", "--store", tmp_path, "--kind", "novel", "--json")
    assert [json.loads(line)["label"] for line in listed.stdout.splitlines()] == ["fox"]
    table = cli("events", "samples", "--store", tmp_path).stdout
    assert "uncertain" in table
    assert "deer 0.45" in table
    copied = cli("events", "samples", "--store", tmp_path, "--to", tmp_path / "photos")
    assert "3 pictures copied, 0 there already" in copied.stderr
    wrong = cli("events", "samples", "--store", tmp_path, "--kind", "novle")
    assert wrong.returncode == 2
    assert "did you mean 'novel'?" in wrong.stderr
