"""Makes infra/weights/brisque.npz from the files of the `brisque` package, without unpickling anything.

The support vector machine is the one that Mittal, Moorthy and Bovik published with BRISQUE (LIVE, University of Texas
at Austin); the package redistributes it in libsvm's text form, with the ranges of the 36 features in a pickle.
"""

from __future__ import annotations

import pickletools
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

NUM_FEATURES = 36


def read_svm(text: str) -> dict[str, np.ndarray]:
    head, body = text.split("SV\n", 1)
    told = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    weights, vectors = [], []
    for line in body.splitlines():
        weight, *pairs = line.split()
        vector = np.zeros(NUM_FEATURES)
        for pair in pairs:
            index, value = pair.split(":")
            vector[int(index) - 1] = float(value)
        weights.append(float(weight))
        vectors.append(vector)
    return {
        "vectors": np.array(vectors, np.float32),
        "weights": np.array(weights, np.float32),
        "gamma": np.array(float(told["gamma"])),
        "rho": np.array(float(told["rho"])),
    }


def read_ranges(pickled: bytes) -> dict[str, np.ndarray]:
    """Raises ValueError unless the pickle holds exactly two lists of 36 numbers, the least and the greatest."""
    numbers = [argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "BINFLOAT"]
    names = [argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "SHORT_BINUNICODE"]
    if names != ["min_", "max_"] or len(numbers) != 2 * NUM_FEATURES:
        raise ValueError(f"expected min_ and max_ of {NUM_FEATURES} features, found {names}, {len(numbers)} numbers")
    return {"low": np.array(numbers[:NUM_FEATURES]), "high": np.array(numbers[NUM_FEATURES:])}


def main(target: str = "infra/weights/brisque.npz") -> None:
    models = Path(str(distribution("brisque").locate_file("brisque/models")))
    arrays = read_svm((models / "svm.txt").read_text()) | read_ranges((models / "normalize.pickle").read_bytes())
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type]
    print({k: v.shape for k, v in arrays.items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
