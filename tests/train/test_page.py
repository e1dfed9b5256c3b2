"""The report in a real browser: complete without a network, on any screen, for any names."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sightpost_train.page import page, write_page
from sightpost_train.results import Calibration, Results, Threshold

from .results_maker import FLOWERS, make_results, with_scores

NAN = float("nan")
HOSTILE = (
    "<script>window.hurt = 1</script>",
    '"><img src=x onerror=hurt=1>',
    "Größe 😀",
    "a" * 150,
)
MAX_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Browser:
    """A headless Chromium behind chromedriver, spoken to in plain WebDriver."""

    session: str

    def call(self, path: str, content: Any = None) -> Any:
        request = urllib.request.Request(
            self.session + path, json.dumps(content or {}).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path, *, width: int = 1280, colours: str = "light") -> None:
        """Load a file as a window of this width would, and forget what happened before."""
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": colours}
        ])  # fmt: skip
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        for kind in ("browser", "performance"):
            self.log(kind)
        self.call("/url", {"url": path.as_uri()})

    def log(self, kind: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("/se/log", {"type": kind})
        return rows

    def js(self, expression: str) -> Any:
        return self.call("/execute/sync", {"script": f"return {expression}", "args": []})

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def click(self, selector: str) -> None:
        """As a hand does: refused where something covers it."""
        found = self.call("/element", {"using": "css selector", "value": selector})
        self.call(f"/element/{next(iter(found.values()))}/click")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium here: apt-get install chromium chromium-driver")
    log = tmp_path_factory.mktemp("driver") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([driver, "--port=0"], stdout=output, stderr=output)
        try:
            yield _session(_port(log), chromium, tmp_path_factory.mktemp("profile"))
        finally:
            process.terminate()
            process.wait(10)


def _port(log: Path) -> int:
    for _ in range(200):
        if found := re.search(rb"successfully on port (\d+)", log.read_bytes()):
            return int(found[1])
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def _session(port: int, chromium: str, profile: Path) -> Browser:
    words = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync"
    words += " disable-background-networking disable-component-update disable-dev-shm-usage"
    options = {
        "binary": chromium,
        "args": [*(f"--{word}" for word in words.split()), f"--user-data-dir={profile}"],
    }
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    server = Browser(f"http://127.0.0.1:{port}")
    made = server.call("/session", {"capabilities": {"alwaysMatch": wanted}})
    return Browser(f"{server.session}/session/{made['sessionId']}")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of every kind of run."""
    folder = tmp_path_factory.mktemp("reports")
    runs = {
        "flowers": make_results(skill=1.5),
        "two": make_results(("good", "bad")),
        "hundred": make_results([f"species {i:02d}" for i in range(100)], each=4, skill=1.5),
        "labels": make_results(("wet", "rusty", "empty"), multi_label=True),
        "perfect": replace(make_results(skill=50), suspects=()),
        "hostile": hostile(),
    }
    for name, results in runs.items():
        write_page(folder / f"{name}.html", results, None)
    return {name: folder / f"{name}.html" for name in runs}


def hostile() -> Results:
    """Names that are markup, and a NaN wherever one can be."""
    results = make_results(HOSTILE, skill=1.0)
    scores = results.test.scores.copy()
    scores[0] = NAN
    row = replace(results.history[0], loss=NAN, val_loss=NAN, accuracy=NAN, val_accuracy=NAN)
    return replace(
        with_scores(results, scores), name="</title><script>hurt=1</script>",
        history=(row, row), energy_wh=NAN, recipe={"backbone": "mobilenet_v2", "x": "</td><b>"},
        calibration=Calibration(NAN, NAN, NAN, 15, (), ()),
        thresholds=tuple(Threshold(label, NAN, False, NAN, NAN) for label in HOSTILE),
        novelty=replace(
            results.novelty, auroc=NAN, threshold=NAN, false_alarm=NAN, aurocs={"<i>": NAN}
        ),
    )  # fmt: skip


KINDS = ("flowers", "two", "hundred", "labels", "perfect", "hostile")


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_without_a_network(browser: Browser, reports: dict[str, Path], kind: str) -> None:
    """Nothing but the file itself is asked for, nothing is complained about, nothing is hurt."""
    browser.open(reports[kind])
    rows = [json.loads(row["message"])["message"] for row in browser.log("performance")]
    asked = [
        row["params"]["request"]["url"]
        for row in rows
        if row["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [reports[kind].as_uri()]
    assert browser.js("performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.log("browser") == []
    assert browser.js("window.hurt === undefined")
    assert reports[kind].stat().st_size < MAX_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_decoded(browser: Browser, reports: dict[str, Path], kind: str) -> None:
    """Photos have pixels and words; a run without mistakes and suspects has none."""
    browser.open(reports[kind])
    images = browser.js("[...document.images].map(i => [i.complete, i.naturalWidth, i.alt])")
    assert bool(images) == (kind != "perfect")
    assert all(complete and width > 0 and alt for complete, width, alt in images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "colours"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_it_fits_every_screen(
    browser: Browser, reports: dict[str, Path], kind: str, width: int, colours: str
) -> None:
    """No sideways scrolling, not even on a phone; text and page differ enough in both schemes."""
    browser.open(reports[kind], width=width, colours=colours)
    assert browser.js("document.documentElement.scrollWidth") <= width
    ink, ground = browser.js("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert contrast(ink, ground) > 7
    assert (luminance(ground) < 0.05) == (colours == "dark")
    for selector in (".headline + dl span", "section > p", "nav a", ".advice span", "figcaption"):
        soft = browser.js(f"getComputedStyle(document.querySelector('{selector}')).color")
        assert contrast(soft, ground) > 4.5, selector


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_matrix_figures_can_be_read(
    browser: Browser, reports: dict[str, Path], colours: str
) -> None:
    """Whatever the heat of a cell, its figure stands out from it."""
    browser.open(reports["flowers"], colours=colours)
    cells = browser.js("""[...document.querySelectorAll('.matrix td[style]')].map(cell => {
        const pen = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
            .getContext('2d');
        return ['backgroundColor', 'color'].map(name => {
            pen.fillStyle = getComputedStyle(cell)[name];
            pen.fillRect(0, 0, 1, 1);
            return `rgb(${pen.getImageData(0, 0, 1, 1).data.slice(0, 3).join()})`;
        });
    })""")
    assert len(cells) > 10
    assert min(contrast(ground, ink) for ground, ink in cells) > 4.5


def test_the_matrix_shows_photos_or_shares(browser: Browser, reports: dict[str, Path]) -> None:
    """A click on the switch turns every count into the share of its row, and back."""
    browser.open(reports["flowers"])
    cell = "document.querySelector('.matrix tbody td').innerText"
    assert browser.js(cell).isdigit()
    browser.click(".choices .shares")
    assert browser.js(cell).endswith("%")
    browser.click(".choices .counts")
    assert browser.js(cell).isdigit()


def test_one_curve_can_be_followed(browser: Browser, reports: dict[str, Path]) -> None:
    """Choosing a class dims the others in both plots."""
    browser.open(reports["flowers"])
    browser.click(".curves .choices .k2")
    faint = "[...document.querySelectorAll('.curves path.line:not(.guide)')]"
    shown = browser.js(f"{faint}.map(p => [p.classList[1], getComputedStyle(p).opacity])")
    assert len(shown) == 2 * len(FLOWERS)
    assert all((opacity == "1") == (name == "k2") for name, opacity in shown)


def test_tables_sort(browser: Browser, reports: dict[str, Path]) -> None:
    """By figures, not by letters; once more turns it round; the state is told to screen readers."""
    browser.open(reports["hundred"])
    head = "#classes th:nth-child(2)"
    values = "[...document.querySelectorAll('#classes tbody tr')]"
    values += ".map(r => Number(r.cells[1].dataset.value))"
    browser.click(f"{head} button")
    assert browser.js(values) == sorted(browser.js(values))
    assert browser.js(f"document.querySelector('{head}').ariaSort") == "ascending"
    browser.click(f"{head} button")
    assert browser.js(values) == sorted(browser.js(values), reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_landmarks_and_headings(browser: Browser, reports: dict[str, Path], kind: str) -> None:
    """One main, one h1, a labelled section behind every link; tables say what their heads are."""
    browser.open(reports[kind])
    assert browser.js("document.querySelectorAll('main').length") == 1
    assert browser.js("document.querySelectorAll('h1').length") == 1
    assert browser.js("document.documentElement.lang") == "en"
    targets = browser.js("[...document.querySelectorAll('nav a')].map(a => a.hash)")
    sections = "[...document.querySelectorAll('section')]"
    assert targets == browser.js(f"{sections}.map(s => '#' + s.id)")
    labels = browser.js(
        f"{sections}.map(s => document.getElementById(s.ariaLabelledByElements[0].id).innerText)"
    )
    assert len(labels) == 10
    assert all(labels)
    assert (
        browser.js("document.querySelectorAll('table.figures thead th:not([scope])').length") == 0
    )
    assert browser.js("document.querySelectorAll('svg:not([aria-label])').length") == 0


def test_hostile_names_are_shown_as_they_are(browser: Browser, reports: dict[str, Path]) -> None:
    """Every name is text, letter by letter, and no element came from one."""
    browser.open(reports["hostile"])
    names = "[...document.querySelectorAll('#classes tbody th')].map(c => c.textContent)"
    assert browser.js(names) == list(HOSTILE)
    assert browser.js("document.querySelectorAll('script').length") == 1
    assert browser.js("document.title").startswith("</title><script>")
    assert "NaN" not in browser.js("document.body.innerText")


def test_paper_shows_the_report_alone(browser: Browser, reports: dict[str, Path]) -> None:
    """Printed, there is no navigation and no switch, and the ink is dark on any screen."""
    browser.open(reports["flowers"], colours="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.devtools("Emulation.setEmulatedMedia", media="print", features=features)
    hidden = browser.js(
        "['nav', '.choices'].map(x => getComputedStyle(document.querySelector(x)).display)"
    )
    ink = browser.js("getComputedStyle(document.body).color")
    browser.devtools("Emulation.setEmulatedMedia", media="", features=[])
    assert hidden == ["none", "none"]
    assert luminance(ink) < 0.05


def test_nothing_needs_the_script() -> None:
    """With the script cut out the file still holds every class, mistake, suspect and figure."""
    results = make_results(skill=1.5)
    whole = page(results, None)
    text = _Text(re.sub(r"<script>.*?</script>", "", whole, flags=re.S)).words
    for words in (*FLOWERS, results.fingerprint, results.suspects[0].photo.path, "13 Wh", "energy"):
        assert words in text
    assert "taken for" in text
    assert whole.count("<script") == 1


@pytest.mark.workshop
def test_mistakes_come_with_what_the_model_looked_at(tmp_path: Path) -> None:
    """With a model each mistake has a second picture, and the text says what it is."""
    import keras

    image = keras.Input((24, 24, 3), name="image")
    inside = keras.Input((24, 24, 3))
    features = keras.layers.Conv2D(4, 3, activation="relu")(inside)
    body = keras.Model(inside, keras.layers.GlobalAveragePooling2D()(features))
    scores = keras.layers.Dense(5, activation="softmax", name="scores")(body(image))
    results = make_results(skill=2.0)
    write_page(tmp_path / "with.html", results, keras.Model(image, scores))
    write_page(tmp_path / "without.html", results, None)
    pictures = [
        (tmp_path / name).read_text().count("<img") for name in ("with.html", "without.html")
    ]
    suspects = len(results.suspects)
    assert pictures[0] - suspects == 2 * (pictures[1] - suspects) > 0
    assert "Grad-CAM" in (tmp_path / "with.html").read_text()
    assert "Grad-CAM" not in (tmp_path / "without.html").read_text()


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", WCAG 2.2."""
    shares = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(weight * s for weight, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class _Text(HTMLParser):
    """All text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.words += data
