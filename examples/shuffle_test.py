"""A permutation test on real data, which saves every shuffle as a result.

The test asks whether a classifier can distinguish malignant from benign tumours better than by chance. It uses the
breast-cancer data set of scikit-learn, and compares the score of the classifier with its scores for shuffled labels. A
tight loop saves each of the 1,000 shuffled scores with an auto-increment number. Then all of them are found and loaded.

    python examples/shuffle_test.py --folder shuffle_results --count 1000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from neuralib.persistence import PickleHandler, autoinc_field, field, persistence_class

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from sklearn.datasets import load_breast_cancer
except ImportError as error:
    sys.exit(f'{error}: this example needs additional packages, install them with: python -m pip install ".[example]"')


@persistence_class
class ShuffleScore:
    """The score of a classifier for one shuffle of the labels."""

    dataset: str = field(validator=True, filename=True)
    folds: int = field(validator=True, filename=True, filename_prefix="folds")
    shuffle: int = autoinc_field(filename_prefix="#")

    score: float  # fraction of correct predictions, 0 to 1
    fold_scores: np.ndarray  # (folds,), the score of each fold
    seed: int  # random seed of the shuffle


def cross_validated(samples: np.ndarray, labels: np.ndarray, folds: int) -> np.ndarray:
    """Return the fraction of correct predictions of a nearest-centroid classifier in each fold.

    :param samples: measurements, ``(n_samples, n_features)``
    :param labels: 0 or 1 for each sample, ``(n_samples,)``
    """
    fold_of = np.arange(len(labels)) % folds
    scores = np.empty(folds)
    for fold in range(folds):
        train, test = fold_of != fold, fold_of == fold
        mean, spread = samples[train].mean(0), samples[train].std(0)
        seen, unseen = (samples[train] - mean) / spread, (samples[test] - mean) / spread
        centres = np.stack([seen[labels[train] == kind].mean(0) for kind in (0, 1)])
        distances = ((unseen[:, None, :] - centres) ** 2).sum(2)
        scores[fold] = (distances.argmin(1) == labels[test]).mean()
    return scores


def main() -> None:
    """Run the test, print the results, and draw the histogram."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("shuffle_results"), help="folder for the results")
    parser.add_argument("--count", type=int, default=1000, help="how many shuffles to add")
    parser.add_argument("--folds", type=int, default=5, help="number of folds in the cross-validation")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    options = parser.parse_args()
    if options.count < 1 or options.folds < 2:
        parser.error("--count must be at least 1, and --folds at least 2")

    data = load_breast_cancer()
    samples, labels = data.data, data.target
    true_score = cross_validated(samples, labels, options.folds).mean()
    print(f"{len(labels)} tumours, {samples.shape[1]} measurements each; true score {true_score:.3f}")

    handler = PickleHandler(ShuffleScore, options.folder)
    template = ShuffleScore("breast_cancer", options.folds)
    before = len(list(handler.load_all(template)))
    if before:
        print(f"{options.folder} already contains {before} shuffles: numbering continues from there")

    random = np.random.default_rng([options.seed, before])
    saving_s = 0.0
    start = time.perf_counter()
    for _ in range(options.count):
        result = ShuffleScore("breast_cancer", options.folds)
        result.seed = int(random.integers(2**63))
        shuffled = np.random.default_rng(result.seed).permutation(labels)
        result.fold_scores = cross_validated(samples, shuffled, options.folds)
        result.score = float(result.fold_scores.mean())
        saving = time.perf_counter()
        handler.save_persistence(result)  # assigns the next number, and saves atomically
        saving_s += time.perf_counter() - saving
    total_s = time.perf_counter() - start
    print(
        f"computed and saved {options.count} shuffles in {total_s:.2f} s: {options.count / total_s:.0f} results a second, "
        f"{100 * saving_s / total_s:.1f} % of the time in the library ({1e6 * saving_s / options.count:.0f} µs a save)"
    )
    print(f"the last one is {handler.filepath(result)}")

    start = time.perf_counter()
    found = [result for _, result in handler.load_all(template)]
    loading_s = time.perf_counter() - start
    print(f"found and loaded {len(found)} results in {loading_s:.2f} s ({1e6 * loading_s / len(found):.0f} µs each)")
    if [result.shuffle for result in found] != list(range(len(found))):
        sys.exit("numbers are missing: was a file deleted?")

    scores = np.array([result.score for result in found])
    # The true labelling is also one of the possible labellings, so it is counted as one of them.
    p_value = (1 + (scores >= true_score).sum()) / (1 + len(scores))
    print(f"shuffled scores {scores.mean():.3f} ± {scores.std():.3f}, highest {scores.max():.3f}; p = {p_value:.2g}")

    picture = options.folder / "shuffle_test.png"
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.hist(scores, bins=40, color="0.6", label=f"{len(scores)} shuffles")
    axes.axvline(true_score, color="C3", label=f"true labels: {true_score:.3f}")
    axes.set(xlabel="fraction of correct predictions", ylabel="number of shuffles", title=f"p = {p_value:.2g}")
    axes.legend()
    figure.savefig(picture, dpi=120)
    print(f"histogram: {picture}")


if __name__ == "__main__":
    main()
