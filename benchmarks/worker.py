"""One side of one case in a process of its own: ``worker.py CASE SIDE FOLDER [SCALE]``.

For each line on its input it runs one batch and prints the seconds an operation took, or the figure that the batch
returned. If the side can't run here, it prints why instead, after ``unavailable:``, and ends.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from cases import SIDES, common


def main(case: str, name: str, folder: str, scale: str = "1") -> None:
    common.SCALE = float(scale)
    work = Path(folder)
    work.mkdir(parents=True)
    batches = SIDES[case][name](work)
    gc.disable()  # a collection in one side's batch and not in the other's would be noise
    for _ in sys.stdin:
        try:
            batch = next(batches)
        except common.Unavailable as reason:
            print(f"unavailable: {reason}", flush=True)
            return
        gc.collect()
        start = time.perf_counter()
        done = batch()
        elapsed = time.perf_counter() - start
        print(done if isinstance(done, float) else elapsed / done, flush=True)


if __name__ == "__main__":  # processes that engines spawn import this module
    main(*sys.argv[1:])
