"""Trains a little with whatever backend KERAS_BACKEND names; prints what came out as JSON.

Runs in ``.venv-jax``, which has no TensorFlow: ``jax_train.py PHOTOS RUN``.
"""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import keras

from sightpost_train.recipe import TrainRecipe
from sightpost_train.training import run_training

photos, out = map(Path, sys.argv[1:])
scratch = TrainRecipe(width=0.35, input_px=32, batch=8, weights="none", epochs=12, augment="gentle")
run_training(photos, out / "scratch", scratch)
model = keras.models.load_model(out / "scratch" / "model.keras", compile=False)
weights = out / "notop.weights.h5"
next(layer for layer in model.layers if isinstance(layer, keras.Model)).save_weights(weights)
run_training(photos, out / "transfer", replace(scratch, weights=str(weights), epochs=1))
figures = {
    name: json.loads((out / name / "metrics.json").read_text())["test"]["accuracy"]
    for name in ("scratch", "transfer")
}
tensorflow = bool(importlib.util.find_spec("tensorflow"))
found = {"backend": keras.backend.backend(), "tensorflow": tensorflow}
print(json.dumps({**figures, **found}))
