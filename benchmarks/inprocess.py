"""The engine alone, without a service, as a process that waits to be told when to run.

    python benchmarks/inprocess.py MODEL PICTURE…

Reads one line at a time and answers with a line of JSON, so that its runs and those of a service can take turns:

    answers   all pictures by `Predictor.answers`, the way of `tellapart predict`   {"per_s": …, "per_s_running": …}
    single    each picture by itself: bytes, decoded, answered                      {"seconds": […]}
    labels    what is answered                                    {"labels": {name: [label, probability, unknown]}}

`per_s` counts from the call to the last answer, `per_s_running` from the first batch's last answer to the very last, so
that the start of the runtime, which a service pays once, is not in it. A folder stands for the pictures in it. The
files were read once before, and the engine has run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import load
from tellapart import preprocess, streams
from tellapart.bundle import read
from tellapart.predict import Prediction, Predictor, Question


def main() -> None:
    """Answer lines until they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    options = parser.parse_args()
    predictor = Predictor(read(options.model))
    paths = load.files(options.pictures)
    contents = [path.read_bytes() for path in paths]

    def alone(content: bytes) -> Prediction:
        square = preprocess.load(content, predictor.preprocess)
        return predictor.predictions([""], square[None])[0]

    def everything() -> list[Prediction]:
        return list(predictor.answers(Question(str(path)) for path in paths))

    everything()
    alone(contents[0])
    print(json.dumps({"ready": len(paths)}), flush=True)
    for line in sys.stdin:
        asked = line.strip()
        start = time.perf_counter()
        if asked == "answers":
            times = [time.perf_counter() for _ in predictor.answers(Question(str(path)) for path in paths)]
            first = min(streams.BATCH, len(times)) - 1
            running = (len(times) - 1 - first) / (times[-1] - times[first]) if len(times) > 2 * streams.BATCH else None
            said = {"per_s": len(times) / (times[-1] - start), "per_s_running": running, "pictures": len(times)}
        elif asked == "single":
            seconds = []
            for content in contents:
                start = time.perf_counter()
                alone(content)
                seconds.append(time.perf_counter() - start)
            said = {"seconds": seconds}
        elif asked == "labels":
            rows = zip(paths, contents, strict=True)
            labels = {path.name: alone(content) for path, content in rows}
            said = {"labels": {name: [one.label, one.probability, one.unknown] for name, one in labels.items()}}
        else:
            said = {"error": f"a line must be answers, single or labels; got {asked!r}"}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
