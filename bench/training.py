"""How long until a trained head, and until the peer's final accuracy: `make bench-training`.

The peer is the transfer-learning tutorial of Keras as most people type it: photos read with
`image_dataset_from_directory`, a frozen MobileNetV2 under a dense layer, `fit` for 10 epochs; then
its upper layers thawed and `fit` for 10 more. Same photos, same split, same weights, one process
each, in turn. Times start after the imports and include decoding; the cache starts empty.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("SIGHTPOST_DATA", REPOSITORY.parent / "shared" / "data"))
EPOCHS = 10
PX = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=DATA / "flowers5")
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / WEIGHTS)
    parser.add_argument("--width", type=float, default=0.35)
    parser.add_argument("--rounds", type=int, default=3, help="of the head; the whole runs once")
    parser.add_argument("--whole", action="store_true", help="also fine-tune: about ten minutes")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(CONTESTANTS[options.contestant](options)))
        return
    if not options.photos.is_dir():
        sys.exit(f"no photos at {options.photos}: give a folder of class folders with --photos")
    _head(options)
    if options.whole:
        _whole(options)


WEIGHTS = "mobilenet_v2_0.35_224_notop.weights.h5"


def _head(options: argparse.Namespace) -> None:
    """Interleaved rounds, medians."""
    rounds = [
        (_run("peer-head", options), _run("ours-head", options)) for _ in range(options.rounds)
    ]
    ratios = sorted(peer["seconds"] / ours["seconds"] for peer, ours in rounds)
    cpu = sorted(peer["cpu_s"] / ours["cpu_s"] for peer, ours in rounds)
    peer, ours = rounds[-1]
    print(f"time to a trained head ({options.rounds} rounds, medians of the ratio)")
    _row(f"keras fit, {EPOCHS} epochs", peer["seconds"], peer["accuracy"])
    _row("sightpost", ours["seconds"], ours["accuracy"])
    middle = len(ratios) // 2
    print(f"  {'ratio':<24} {ratios[middle]:6.1f}    of CPU time {cpu[middle]:.1f}")
    again = _run("ours-head", options, keep_cache=True)
    _row("sightpost, cache filled", again["seconds"], again["accuracy"])


def _whole(options: argparse.Namespace) -> None:
    peer = _run("peer-whole", options)
    options.target = peer["accuracy"]
    ours = _run("ours-whole", options)
    print("whole recipe, head and fine-tuning, to the peer's final accuracy")
    _row(f"keras fit, {EPOCHS} + {EPOCHS} epochs", peer["seconds"], peer["accuracy"])
    _row("sightpost, at its end", ours["seconds"], ours["accuracy"])
    _figure("ratio, end to end", peer["seconds"] / ours["seconds"])
    if reached := ours["reached_s"]:
        _figure("sightpost, as good", reached, " s")
        _figure("ratio to the same figure", peer["seconds"] / reached)
    else:
        print("  sightpost never reached the peer's accuracy", flush=True)


def _figure(name: str, value: float, unit: str = "") -> None:
    print(f"  {name:<24} {value:6.1f}{unit}", flush=True)


def _row(name: str, seconds: float, accuracy: float) -> None:
    print(f"  {name:<24} {seconds:6.1f} s  test accuracy {accuracy:.3f}", flush=True)


_cache = Path(tempfile.mkdtemp(prefix="sightpost-bench-"))


def _run(
    contestant: str, options: argparse.Namespace, *, keep_cache: bool = False
) -> dict[str, Any]:
    if not keep_cache:
        shutil.rmtree(_cache, ignore_errors=True)
    words = [
        sys.executable, __file__, "--contestant", contestant, "--photos", options.photos,
        "--weights", options.weights, "--width", options.width, "--target", options.target,
    ]  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(_cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        list(map(str, words)), check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


class _Clock:
    def __init__(self) -> None:
        import keras  # noqa: F401 - what both need is loaded before the clock starts
        import tensorflow  # noqa: F401

        self._wall, self._cpu = time.perf_counter(), self._used()

    def figures(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._wall, "cpu_s": self._used() - self._cpu}

    @staticmethod
    def _used() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def _recipe(options: argparse.Namespace, **changes: Any) -> Any:
    from sightpost_train.recipe import TrainRecipe

    return TrainRecipe(width=options.width, weights=str(options.weights), **changes)


def ours_head(options: argparse.Namespace) -> dict[str, float]:
    return _ours(options, epochs=0)


def ours_whole(options: argparse.Namespace) -> dict[str, float]:
    return _ours(options)


def _ours(options: argparse.Namespace, **changes: Any) -> dict[str, float]:
    import sightpost_train.fit as fitting
    from sightpost_train.dataset import read_recipe_photos
    from sightpost_train.model import build_features, use_hardware
    from sightpost_train.work import Work

    clock = _Clock()
    recipe = _recipe(options, **changes)
    use_hardware()
    backbone = build_features(recipe)
    data = read_recipe_photos(options.photos, recipe)
    parts = fitting.Parts(*(data.part(name) for name in ("train", "validation", "test")))
    reached: list[float] = []
    _watch_test(fitting, parts, recipe, clock, options.target, reached)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder) / "work", {})
        fitted = fitting.fit_recipe(recipe, backbone, parts, work, multi_label=False)
    figures = clock.figures()
    kept = next(stage for stage in fitted.stages if stage.name == fitted.kept)
    return {**figures, "accuracy": kept.test_accuracy, "reached_s": reached[0] if reached else 0.0}


def _watch_test(
    fitting: Any, parts: Any, recipe: Any, clock: _Clock, target: float, reached: list[float]
) -> None:
    """Note when the test accuracy first reaches the peer's; the time of looking is not counted."""
    from sightpost_train.descent import Descent, score
    from sightpost_train.head import accuracy

    looking_s = [0.0]
    epoch = Descent._epoch

    def look(self: Any, *given: Any) -> None:
        epoch(self, *given)
        began_s = time.perf_counter()
        scores = score(self.classifier, parts.test.stack, mean=self.mean, std=self.std)
        if accuracy(scores, parts.test.truth, multi_label=False) >= target and not reached:
            reached.append(clock.figures()["seconds"] - looking_s[0])
        looking_s[0] += time.perf_counter() - began_s

    Descent._epoch = look  # type: ignore[method-assign]
    judge = fitting.Fitted.judge

    def judged(self: Any, *given: Any, **named: Any) -> bool:
        won = bool(judge(self, *given, **named))
        if self.stages[-1].test_accuracy >= target and not reached:
            reached.append(clock.figures()["seconds"] - looking_s[0])
        return won

    fitting.Fitted.judge = judged


def peer_head(options: argparse.Namespace) -> dict[str, float]:
    return _peer(options, fine_tune=False)


def peer_whole(options: argparse.Namespace) -> dict[str, float]:
    return _peer(options, fine_tune=True)


def _peer(options: argparse.Namespace, *, fine_tune: bool) -> dict[str, float]:
    folders = _peer_folders(options)
    clock = _Clock()
    import keras

    keras.utils.set_random_seed(1)
    sets = {
        name: keras.utils.image_dataset_from_directory(
            folders / name,
            image_size=(PX, PX),
            batch_size=32,
            shuffle=name == "train",
            verbose=False,
        ).prefetch(-1)
        for name in ("train", "test")
    }
    base = keras.applications.MobileNetV2(
        input_shape=(PX, PX, 3),
        alpha=options.width,
        include_top=False,
        weights=str(options.weights),
    )
    base.trainable = False
    image = keras.Input((PX, PX, 3))
    x = image
    if fine_tune:
        x = keras.layers.RandomRotation(0.2)(keras.layers.RandomFlip("horizontal")(x))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(image, keras.layers.Dense(len(os.listdir(folders / "train")))(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(sets["train"], epochs=EPOCHS, verbose=0)
    if fine_tune:
        base.trainable = True
        for layer in base.layers[:100]:
            layer.trainable = False
        model.compile(keras.optimizers.RMSprop(1e-5), loss, metrics=["accuracy"])
        model.fit(sets["train"], epochs=EPOCHS, verbose=0)
    figures = clock.figures()
    return {**figures, "accuracy": float(model.evaluate(sets["test"], verbose=0)[1])}


def _peer_folders(options: argparse.Namespace) -> Path:
    """Our split as folders, as the peer's reader wants them; the peer trains on validation too."""
    from sightpost_train.dataset import read_recipe_photos

    data = read_recipe_photos(options.photos, _recipe(options))
    root = Path(tempfile.mkdtemp(prefix="sightpost-peer-"))
    for photo in data.everything.photos:
        folder = root / ("test" if photo.split == "test" else "train") / photo.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / photo.path.replace("/", "_")).symlink_to((data.root / photo.path).absolute())
    return root


CONTESTANTS = {
    "ours-head": ours_head, "peer-head": peer_head,
    "ours-whole": ours_whole, "peer-whole": peer_whole,
}  # fmt: skip

if __name__ == "__main__":
    main()
