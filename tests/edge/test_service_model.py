"""``sightpost service install`` with a key and a model: the next start works, with that model."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sightpost_edge.doctor.host import Ran
from sightpost_edge.errors import ConfigError, ModelError, ServiceError, UpdateRefused
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models import Installed, ModelFolder
from sightpost_edge.models import install as models_install
from sightpost_edge.models.opening import open_wanted
from sightpost_edge.service.places import Places
from sightpost_edge.service.plan import carry_out, install_steps
from sightpost_edge.service.steps import Step
from sightpost_edge.service.wish import Wish, consider
from sightpost_edge.testing import tiny_bundle

from ..model_rig import Workshop, prove, update
from .service_rig import MadeUp, made_up, tree

pytest.importorskip("cryptography")

GATE = Places("gate")
UNSIGNED = (
    "model 1.tflite is to be installed unsigned: 1.tflite.minisig is looked at with --key KEY.pub "
    "only"
)


@pytest.fixture(autouse=True)
def not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is run here, neither to try it out nor at a start; tests of their own do that."""
    monkeypatch.setattr(models_install, "rehearse", lambda *_, **__: None)
    monkeypatch.setattr("sightpost_edge.bundle.try_once", lambda *_, **__: None)


@pytest.fixture
def pi(tmp_path: Path) -> MadeUp:
    return made_up(tmp_path / "pi")


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    config = tmp_path / "site.toml"
    config.write_text('name = "gate"\nsource = "v4l2:///dev/video0"\n')
    return Wish(GATE, config)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "workshop")


@pytest.fixture
def key(tmp_path: Path, workshop: Workshop) -> Path:
    """Its public key."""
    path = tmp_path / "workshop.pub"
    path.write_text(workshop.key.public.to_text())
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(pi: MadeUp, wish: Wish) -> list[str]:
    """What the plan said it did."""
    said: list[str] = []
    carry_out(pi, "gate", install_steps(pi, consider(pi, wish)), said.append)
    return said


def step_said(step: Step, pi: MadeUp) -> str:
    return f"{step.what()} {step.lacking(pi, frozenset())}"


def folder_of(pi: MadeUp) -> ModelFolder:
    return ModelFolder(pi.path(GATE.models), key=pi.path(GATE.key))


def in_use(pi: MadeUp) -> Path:
    """The file of the current model, which is read-only no more."""
    current = folder_of(pi).current()
    assert current is not None
    current.path.chmod(0o640)
    return current.path


def started_with(pi: MadeUp) -> Installed:
    """The model that the station's next start opens."""
    return open_wanted(folder_of(pi), 1, lambda good, text: None)[0].one


@contextmanager
def untouched(pi: MadeUp) -> Iterator[None]:
    """Nothing on the machine is changed."""
    before, ran = tree(pi), list(pi.ran)
    yield
    assert (tree(pi), pi.ran) == (before, ran)


def test_a_key_that_did_not_sign_the_model_in_use_is_refused(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """Else the next start would find no model, in a loop for good; the hint says what is given."""
    install(pi, replace(wish, model=workshop.model("1")))
    with untouched(pi), pytest.raises(ModelError, match=r"next start.*no signature") as caught:
        install(pi, replace(wish, key=key))
    assert "--model FILE.tflite" in caught.value.hint
    assert workshop.key.public.name in caught.value.hint
    assert not started_with(pi).signed


def test_with_its_signature_the_model_in_use_comes_in_anew(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """The same bytes lie there, but nobody signed those: the signed version is another one."""
    model = workshop.model("1")
    install(pi, replace(wish, model=model))
    prove(folder_of(pi))
    both = replace(wish, model=model, key=key)
    assert install(pi, both) == [
        f"{GATE.key} is to be written",
        "model 1.tflite is to be installed",
    ]
    assert (started_with(pi).version, started_with(pi).signed) == ("1", True)
    assert install(pi, both) == install(pi, replace(wish, key=key)) == install(pi, wish) == []


def test_a_signature_that_nobody_looks_at_is_named(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """Not where a key is trusted, nor where there is none beside the model."""
    model = workshop.model("1")
    plain = workshop.folder / "plain.tflite"
    plain.write_bytes(model.read_bytes())
    for words, said in [
        (replace(wish, model=model), UNSIGNED),
        (replace(wish, model=model, key=key), "model 1.tflite is to be installed"),
        (replace(wish, model=plain), "model plain.tflite is to be installed"),
    ]:
        assert said in [step_said(step, pi) for step in install_steps(pi, consider(pi, words))]


def test_a_model_on_disk_that_is_not_current_becomes_it(
    pi: MadeUp, wish: Wish, workshop: Workshop
) -> None:
    """Unsigned ones; going back to one that lies there is the owner's wish, too."""
    one, two = workshop.model("1"), workshop.model("2")
    install(pi, replace(wish, model=one))
    prove(folder_of(pi))
    install(pi, replace(wish, model=two))
    prove(folder_of(pi))
    assert install(pi, replace(wish, model=one)) == [UNSIGNED]
    assert started_with(pi).digest == _sha256(one)
    assert install(pi, replace(wish, model=one)) == []


def test_what_model_install_would_refuse_is_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """Rolled back before, older than what was here, another name, a newer program: each with the
    command that takes it all the same, which is not this one."""
    install(pi, replace(wish, model=workshop.model("1"), key=key))
    prove(folder_of(pi))
    install(pi, replace(wish, model=workshop.model("2")))
    folder = folder_of(pi)
    back = folder.previous()
    assert back is not None
    folder.switch(back, why="by hand", left="rolled back")
    for model, words, command in [
        (workshop.folder / "2.tflite", "trial.*by hand", "sudo sightpost model use --store {} 2"),
        (workshop.model("0.9"), "version", "sudo sightpost model use --store {} VERSION"),
        (workshop.model("3", name="other"), "name", "model install --store {} {} --new-name"),
        (workshop.model("4", min_runtime="99.0"), "min_runtime", "update sightpost"),
    ]:
        with untouched(pi), pytest.raises(ModelError, match=words) as caught:
            install(pi, replace(wish, model=model))
        assert command.format(pi.path(GATE.state), model) in caught.value.hint
    assert started_with(pi).version == "1"


def test_a_model_that_was_sent_away_is_refused_though_its_file_is_no_longer_whole(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """As `model install` does: it was this signed version that failed here, not its copy."""
    install(pi, replace(wish, model=workshop.model("1"), key=key))
    prove(folder_of(pi))
    install(pi, replace(wish, model=workshop.model("2")))
    folder = folder_of(pi)
    current, back = folder.current(), folder.previous()
    assert current is not None
    assert back is not None
    folder.switch(back, why="by hand", left="rolled back")
    current.path.chmod(0o640)
    current.path.write_bytes(b"TFL3")
    with untouched(pi), pytest.raises(UpdateRefused, match=r"trial: .*rolled back: by hand") as no:
        install(pi, replace(wish, model=workshop.folder / "2.tflite"))
    assert no.value.hint == "signed again with a higher version it is tried again"


def test_labels_that_have_nothing_in_common_are_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish, workshop: Workshop, tmp_path: Path
) -> None:
    install(pi, replace(wish, model=workshop.model("1")))
    other = tmp_path / "other.tflite"
    tiny_bundle(other, labels=("mouse", "rat", "vole"), golden=())
    with untouched(pi), pytest.raises(UpdateRefused, match="labels") as caught:
        install(pi, replace(wish, model=other))
    assert "sudo sightpost model install" in caught.value.hint


@pytest.mark.parametrize("signed", [True, False])
def test_a_current_model_that_is_damaged_is_installed_anew(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path, signed: bool
) -> None:
    """What is there must be able to start; without the file the damage is told."""
    model = workshop.model("1")
    install(pi, replace(wish, model=model, key=key if signed else None))
    prove(folder_of(pi))
    path = in_use(pi)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with untouched(pi), pytest.raises(ModelError, match="next start") as caught:
        install(pi, wish)
    assert "--model FILE.tflite" in caught.value.hint
    said = "model 1.tflite is to be installed" if signed else UNSIGNED
    assert install(pi, replace(wish, model=model)) == [said]
    assert started_with(pi).digest == _sha256(model)


def test_a_fallback_is_enough_where_no_key_is_given(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """The station goes on with the model before a damaged one: its config can still be changed."""
    install(pi, replace(wish, model=workshop.model("1"), key=key))
    prove(folder_of(pi))
    install(pi, replace(wish, model=workshop.model("2")))
    in_use(pi).write_bytes(b"TFL3")
    assert install(pi, wish) == []
    with untouched(pi), pytest.raises(ModelError, match="next start"):
        install(pi, replace(wish, key=key))
    assert started_with(pi).version == "1"


def test_the_same_command_is_good_after_an_update(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """For a change of the config: the model that came over the air since then stays."""
    first = replace(wish, model=workshop.model("1"), key=key)
    install(pi, first)
    prove(folder_of(pi))
    update(folder_of(pi), workshop.model("2"))
    prove(folder_of(pi))
    assert install(pi, first) == []
    assert started_with(pi).version == "2"


def test_a_new_key_goes_again_where_its_model_does_not_come_in(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path, tmp_path: Path
) -> None:
    """The rehearsal is after the key: the station is left as it was, not without a model."""
    install(pi, replace(wish, model=workshop.model("1")))
    prove(folder_of(pi))
    pi.answers["/opt/sightpost/bin/sightpost model install"] = Ran(4, "", "sightpost: it crashed")
    both = replace(wish, model=workshop.model("2"), key=key)
    with untouched(pi), pytest.raises(ServiceError, match="it crashed"):
        install(pi, both)
    assert not started_with(pi).signed
    pi.answers.clear()
    install(pi, both)
    pi.answers["/opt/sightpost/bin/sightpost model install"] = Ran(4, "", "sightpost: it crashed")
    with untouched(pi), pytest.raises(ServiceError, match="it crashed"):
        install(pi, replace(both, model=workshop.model("3")))
    assert started_with(pi).version == "2"


def test_a_model_that_another_key_signed_counts_as_none(
    pi: MadeUp, wish: Wish, workshop: Workshop, key: Path
) -> None:
    """Also where the key in force was changed by other means than this."""
    install(pi, replace(wish, model=workshop.model("1"), key=key))
    pi.path(GATE.key).write_text(new_keys().public.to_text())
    with untouched(pi), pytest.raises(ModelError, match=r"next start.*was signed by key"):
        install(pi, wish)


def test_rules_and_pins_that_do_not_go_with_the_model_are_refused_before_anything_is_changed(
    pi: MadeUp, wish: Wish, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run ends with code 2 over them, and after that systemd does not start it again."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert wish.config is not None
    good, config = wish.config.read_text(), wish.config
    rules = "[rules.classes.gren]\nthreshold = 0.9\n"
    wrong = [rules, '[[pins]]\npin = 17\nlabels = ["gren"]\n']
    for model in (workshop.model("1"), None):
        for more in wrong:
            config.write_text(good + more)
            with untouched(pi), pytest.raises(ConfigError, match="gren") as caught:
                install(pi, replace(wish, model=model))
            assert "green" in caught.value.hint
        config.write_text(good)
        install(pi, replace(wish, model=model))
