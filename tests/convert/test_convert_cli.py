"""``sightpost convert`` on a model from elsewhere: sealed and signed, or refused with a code."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightpost_convert.conversion import Wishes
from sightpost_edge.bundle import Bundle
from sightpost_edge.cli import app
from sightpost_edge.commands.signer import version_now
from sightpost_edge.errors import ConfigError, SignatureRefused
from sightpost_edge.manifest import verify_file, version_numbers
from sightpost_edge.minikeys import PublicKey, new_keys
from sightpost_edge.testing import TINY_LABELS, tiny_model

from . import planted
from .courtroom import measure_nothing

pytestmark = pytest.mark.workshop

Convert = Callable[..., Result]


@pytest.fixture
def convert(tmp_path: Path, colour_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Converts a planted model, int8 the fastest; ``words`` are further options."""
    measure_nothing(monkeypatch, float32=3.0, float16=3.0, weights8=3.0, dynamic=3.0)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(TINY_LABELS))

    def run(model: bytes, *words: object) -> Result:
        path = tmp_path / "theirs.tflite"
        path.write_bytes(model)
        return call("convert", path, "--out", tmp_path / "m.tflite", "--labels", labels,
                    "--photos", colour_folders, *words)  # fmt: skip

    return run


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_model_from_elsewhere_is_sealed(convert: Convert, tmp_path: Path) -> None:
    """Table and digest to stdout; the Bundle opens verified, court.json lies beside it."""
    result = convert(planted.healthy(), "--name", "three colours")
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(tmp_path / "m.tflite")
    assert bundle.verified
    assert bundle.contract.labels == TINY_LABELS
    assert (bundle.contract.name, bundle.contract.kind) == ("three colours", "int8")
    assert bundle.contract.training == {"origin": "theirs.tflite", "judged_photos": 54}
    assert "54 held-out photos" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(f"sha256 {bundle.digest}")
    court = json.loads((tmp_path / "court.json").read_text())
    assert (court["chosen"], court["trained_accuracy"]) == ("int8", None)
    assert (tmp_path / "court.png").exists()


def test_nobody_within_budget_is_exit_code_8(convert: Convert, tmp_path: Path) -> None:
    """Message and hint to stderr name the layer; court.json is written all the same."""
    result = convert(planted.weight_outlier(), "--max-size", "0.075")
    assert result.exit_code == 8
    assert "int8 hurts most in last (fully_connected)" in result.stderr
    assert "hint: tried already: int8-percentile, int8-mse, mixed" in result.stderr
    assert "chosen: none" in result.stdout
    assert not (tmp_path / "m.tflite").exists()
    court = json.loads((tmp_path / "court.json").read_text())
    assert court["chosen"] is None
    assert court["layers_that_hurt"][0]["layer"] == "last (fully_connected)"
    assert court["budget"]["max_size_bytes"] == round(0.075 * 2**20)


def test_a_rescued_model_is_sealed_and_the_layer_named(convert: Convert, tmp_path: Path) -> None:
    """On stderr, since the conversion went well."""
    result = convert(planted.weight_outlier(), "--max-size", "0.1")
    assert result.exit_code == 0, result.output
    assert Bundle.open(tmp_path / "m.tflite").contract.kind == "mixed"
    assert "int8 hurts most in last (fully_connected)" in result.stderr


def test_signed_from_end_to_end(convert: Convert, tmp_path: Path) -> None:
    """A key without a password signs; inspect --trust accepts, and refuses a changed file."""
    key = new_keys()
    (tmp_path / "k.key").write_text(key.to_text(None, comment="test"))
    (tmp_path / "k.pub").write_text(key.public.to_text())
    result = convert(planted.healthy(), "--sign", tmp_path / "k.key", "--version", "1.2",
                     "--expires", "2999-12-31")  # fmt: skip
    assert result.exit_code == 0, result.output
    path = tmp_path / "m.tflite"
    shown = call("inspect", path, "--trust", tmp_path / "k.pub", "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["verified"]
    assert (facts["signature"]["version"], facts["signature"]["expires"]) == ("1.2", "2999-12-31")
    assert facts["signature"]["name"] == "theirs"
    public = PublicKey.from_text((tmp_path / "k.pub").read_text())
    manifest = verify_file(path, path.read_bytes(), public)
    assert manifest.sha256 == Bundle.open(path).digest
    changed = bytearray(path.read_bytes())
    changed[1000] ^= 1
    path.write_bytes(changed)
    with pytest.raises(SignatureRefused):
        verify_file(path, bytes(changed), public)
    assert call("inspect", path, "--trust", tmp_path / "k.pub").exit_code == 4


def test_the_version_is_the_time_of_signing_unless_given(convert: Convert, tmp_path: Path) -> None:
    """So that a later model is a higher version, and a station takes it."""
    key = new_keys()
    (tmp_path / "k.key").write_text(key.to_text(None, comment="test"))
    before = version_now()
    assert convert(planted.healthy(), "--sign", tmp_path / "k.key").exit_code == 0
    path = tmp_path / "m.tflite"
    manifest = verify_file(path, path.read_bytes(), key.public)
    assert re.fullmatch(r"20\d\d\.[01]\d\.[0-3]\d\.[0-2]\d[0-5]\d", manifest.version)
    assert version_numbers(before) <= version_numbers(manifest.version)
    assert version_numbers(manifest.version) <= version_numbers(version_now())
    assert manifest.expires == ""


def never(*_: object) -> None:
    pytest.fail("the court must not be held")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sign", "none.key"], "cannot read the key none.key"),
        (["--sign", "none.key", "--version", "v3"], "'v3' is no dotted number"),
        (["--target", "pi44"], "did you mean 'pi4'"),
        (["--target", "pi4", "--max-latency-ms", "5"], "needs a pi4 to measure on"),
        (["--display", "de"], "LOCALE=FILE"),
        (["--display", "../de=x.txt"], "LOCALE=FILE"),
        (["--display", "de=none.txt"], "cannot read labels from none.txt"),
        (["--max-drop", "2"], "max-drop"),
        (["--max-class-drop", "-1"], "max-class-drop"),
        (["--max-drop", "nan"], "max-drop"),
    ],
)
def test_wrong_options_are_refused_at_once(
    convert: Convert, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    """Exit code 2 before anything is made: a court takes minutes."""
    monkeypatch.setattr("sightpost_convert.conversion.hold_court", never)
    result = convert(tiny_model(), *words)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(("words", "kept"), [([], True), (["--no-examples"], False)])
def test_names_of_photos_stay_at_home_where_asked(
    convert: Convert, monkeypatch: pytest.MonkeyPatch, words: list[str], kept: bool
) -> None:
    """The option reaches the conversion."""
    wishes: list[Wishes] = []

    def refuse(case: object, out: Path, evidence: Path, given: Wishes) -> None:
        wishes.append(given)
        raise ConfigError("that is all")

    monkeypatch.setattr("sightpost_convert.conversion.convert_case", refuse)
    assert convert(tiny_model(), *words).exit_code == 2
    assert [one.examples for one in wishes] == [kept]


@pytest.mark.parametrize("words", [["--expires", "tomorrow"], ["--version", "a\tb"]])
def test_what_cannot_be_signed_is_refused_at_once(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Not when the Bundle is already written without its signature."""
    (tmp_path / "k.key").write_text(new_keys().to_text(None, comment="test"))
    result = convert(planted.healthy(), "--sign", tmp_path / "k.key", *words)
    assert result.exit_code == 2
    assert not (tmp_path / "m.tflite").exists()


def test_labels_in_another_language_must_be_as_many(convert: Convert, tmp_path: Path) -> None:
    """With a line missing every name behind it would be shown for another class."""
    (tmp_path / "namen.txt").write_text("Blau\nRot")
    result = convert(planted.healthy(), "--display", f"de={tmp_path / 'namen.txt'}")
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "m.tflite").exists()


def test_a_model_needs_photos(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(tiny_model())
    result = call("convert", tmp_path / "m.tflite", "--out", tmp_path / "out.tflite")
    assert result.exit_code == 2
    assert "--photos FOLDER must say what to judge it with" in result.stderr


def test_a_run_brings_its_own_photos(tmp_path: Path) -> None:
    result = call("convert", tmp_path, "--out", tmp_path / "out.tflite", "--photos", tmp_path)
    assert result.exit_code == 2
    assert "a run brings its own" in result.stderr


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """It is called missing, and not taken for a run."""
    result = call("convert", tmp_path / "gone.tflite", "--out", tmp_path / "out.tflite",
                  "--photos", tmp_path)  # fmt: skip
    assert result.exit_code == 4
    assert "no model file" in result.stderr


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    result = call("convert", tmp_path, "--out", tmp_path / "out.tflite")
    assert result.exit_code == 3
    assert "not a finished training run" in result.stderr


def test_a_boards_name_sets_the_memory(convert: Convert, monkeypatch: pytest.MonkeyPatch) -> None:
    """pi-zero2 leaves 75 MB: a model that takes 80 is out, and the measurement is of no board."""
    from sightpost_convert import court

    honest = court.measure_on

    def large(*args: object, **options: object) -> object:
        report = honest(*args, **options)  # type: ignore[arg-type]
        return court.replace(
            report, rows=tuple(court.replace(r, peak_mb=80.0) for r in report.rows)
        )

    monkeypatch.setattr(court, "measure_on", large)
    result = convert(planted.healthy(), "--target", "pi-zero2")
    assert result.exit_code == 8
    assert "takes 80 MB, 75 left on the board" in result.stderr


def test_a_limit_on_latency_where_it_is_measured(convert: Convert) -> None:
    """int8 at 1.1 ms with two threads is within 1.2, float32 at 3.3 is not."""
    result = convert(planted.healthy(), "--max-latency-ms", "1.2")
    assert result.exit_code == 0
    assert "ms at p95, 1.2 allowed" in result.stdout


@pytest.mark.slow
@pytest.mark.data
def test_a_real_model_from_elsewhere(data: Path, tmp_path: Path) -> None:
    """A published uint8 MobileNetV2 of 1,001 classes: judged as given on photos, and sealed."""
    weights = data / "weights" / "mobilenet_v2_1.0_224_quant.tflite"
    shown = {
        "bird.png": "chickadee", "cat_720p.jpg": "Egyptian cat", "parrot.jpg": "macaw",
        "hot_dog.jpg": "hotdog, hot dog, red hot", "grace_hopper.png": "military uniform",
        "pets.jpg": "Italian greyhound",
    }  # fmt: skip
    files = [(data / "photos" / name, label) for name, label in shown.items()]
    files += [(path, "daisy") for path in sorted((data / "flowers5" / "daisy").iterdir())[:6]]
    for path, label in files:
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path)
    out = tmp_path / "m.tflite"
    result = call("convert", weights, "--out", out, "--photos", tmp_path / "photos",
                  "--labels", data / "weights" / "imagenet_labels.txt")  # fmt: skip
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(out, every_golden=True)
    assert bundle.verified
    assert len(bundle.contract.labels) == 1001
    assert bundle.network.input_dtype == "uint8"
    assert bundle.contract.golden_tolerance > 0.09
    assert len(bundle.golden) == 7 + 2
    (row,) = bundle.contract.conversion["table"]
    assert row["accuracy"] >= 0.8
    assert not row["kind"].startswith("float")
