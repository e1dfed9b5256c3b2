"""The loop that people write over a folder of photos: read, convert, scale, invoke, sort.

    python -m bench.runtime.bulk_peer [--area] MODEL FOLDER

Prints the three best classes of every photo. ``--area`` scales the whole picture by averaging.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(words: list[str]) -> None:
    """See the module."""
    how = cv2.INTER_AREA if words[0] == "--area" else cv2.INTER_LINEAR
    model, folder = words[-2:]
    interpreter = Interpreter(model_path=model)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    height, width = taken["shape"][1:3]
    scale, zero_point = given["quantization"]
    for path in sorted(Path(folder).glob("*.jpg")):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, (int(width), int(height)), interpolation=how)
        interpreter.set_tensor(taken["index"], small[None])
        interpreter.invoke()
        scores = scale * (interpreter.get_tensor(given["index"])[0].astype(np.int32) - zero_point)
        best = sorted(enumerate(scores), key=lambda pair: pair[1], reverse=True)[:3]
        print(path, [(index, round(float(score), 4)) for index, score in best])


if __name__ == "__main__":
    main(sys.argv[1:])
