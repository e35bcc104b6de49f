"""See whether probabilities can be trusted, and correct them: `python examples/calibration.py`.

A calibrated network is right for 80 % of the predictions to which it gives 80 %. This one has seen 500
images for too long and is overconfident. Its logits are divided by the temperature that makes the
validation loss smallest. It takes about ten seconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import chalknet
from chalknet.network.calibration import expected_calibration_error, find_temperature, reliability_bins
from chalknet.network.softmax import softmax

data = chalknet.load_data("glyphs")
recipe = chalknet.recipe("writeup").with_settings(hidden=[200], epochs=3 if "--quick" in sys.argv else 300)
run = chalknet.train(data, recipe, seed=0, train_size=500, valid_size=2000, learning_rate=2e-4, momentum=0.9)
valid, test = run.splits.valid, run.splits.test[:5000]
temperature = find_temperature(run.network.logits(data.inputs[valid])[np.newaxis], data.labels[valid])
print(f"temperature {temperature:.2f}")

figure, axis = plt.subplots(figsize=(4.5, 4.2), layout="constrained")
axis.plot([0, 1], [0, 1], color="gray", linestyle="--")
logits = run.network.logits(data.inputs[test])
for scale, name in ((1, "as trained"), (temperature, "calibrated")):
    probabilities = softmax(logits / scale)[0]
    bins = reliability_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == data.labels[test])
    error = expected_calibration_error(bins)
    confidence, accuracy = [one.confidence for one in bins], [one.accuracy for one in bins]
    axis.plot(confidence, accuracy, "o-", label=f"{name}: error {100 * error:.1f} %")
    print(f"{name}: expected calibration error {error:.4f}")
axis.set(xlabel="confidence of predictions", ylabel="their accuracy", xlim=(0, 1), ylim=(0, 1))
axis.legend()
figure.savefig("calibration.png")
