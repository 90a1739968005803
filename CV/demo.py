"""Train a classifier of handwritten digits for some 20 s, measured by PACT: `make demo`.

The images are real (scikit-learn's copy of the UCI digits, 1 797 of 8 x 8 pixels) and nothing is
downloaded.
"""

import subprocess
import sys
import time
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from pactmeter import PACT

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
FOLDER = Path("demo-run")


@PACT(measure_period=1, perf_measure_period=0.01, tracker_file_name=FOLDER / "PACT.csv")
def train(seconds):
    """Train for so many seconds; return the accuracy on images not trained on."""
    images, digits = load_digits(return_X_y=True)
    seen, unseen, seen_digits, unseen_digits = train_test_split(
        images / 16.0, digits, test_size=0.25, random_state=1
    )
    model = MLPClassifier(hidden_layer_sizes=(256, 128), random_state=1)
    start = told = time.monotonic()
    epoch = 0
    while (now := time.monotonic()) < start + seconds:
        model.partial_fit(seen, seen_digits, classes=range(10))
        epoch += 1
        if now > told + seconds / 5:
            told = now
            print(f"  epoch {epoch}: accuracy {model.score(unseen, unseen_digits):.3f}", flush=True)
    return model.score(unseen, unseen_digits)


MEANING = {
    0: "PACT demo: this machine has a power meter that PACT can read.",
    3: "PACT demo: nothing measures power here, it is estimated; time and counters are exact.",
    4: "PACT demo: this machine has no power meter that PACT can read: time and counters only.",
}

if __name__ == "__main__":
    doctor = subprocess.run(
        [sys.executable, "-m", "pactmeter", "doctor", "--json"],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    print(MEANING.get(doctor.returncode, "PACT demo: `pactmeter doctor` failed."))
    print(f"training a classifier of handwritten digits for {SECONDS:g} s ...", flush=True)
    print(f"accuracy on unseen images: {train(SECONDS):.3f}")
