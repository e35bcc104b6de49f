"""Train on images, and look at the most confident mistakes: `python examples/train_images.py`.

To train on your own images, give a folder with one subfolder for each class in place of "glyphs". It
takes about ten seconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import chalknet

quick = "--quick" in sys.argv
data = chalknet.load_data("glyphs")
run = chalknet.train(data, hidden=[20] if quick else [256], epochs=1 if quick else 10, seed=0)
print(f"test accuracy {run.kept.test.accuracy:.4f}")

test = run.splits.test
probabilities = run.network.predict_proba(data.inputs[test])
predicted = probabilities.argmax(axis=1)
wrong = np.flatnonzero(predicted != data.labels[test])
worst = wrong[np.argsort(-probabilities[wrong].max(axis=1))[:12]]

figure, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for axis, n in zip(axes.flat, worst, strict=True):
    axis.imshow(data.inputs[test[n]], cmap="gray")
    names = data.class_names[data.labels[test[n]]], data.class_names[predicted[n]]
    axis.set_title(f"{names[0]}, said {names[1]}\n{100 * probabilities[n].max():.1f} %", fontsize=10)
    axis.set_axis_off()
figure.savefig("train_images.png")
