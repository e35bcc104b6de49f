"""Find the epoch at which training should have stopped: `python examples/stopping_point.py`.

300 images are few, so the network overfits: the validation loss rises while the training loss still
falls. The accuracy hardly suffers, because the network becomes overconfident in its mistakes. It takes
about five seconds.
"""

import sys

import matplotlib.pyplot as plt

import chalknet

recipe = chalknet.recipe("writeup").with_settings(hidden=[100], epochs=5 if "--quick" in sys.argv else 200)
recipe = recipe.with_settings(learning_rate=3e-4, momentum=0.9)
data = chalknet.load_data("glyphs")
run = chalknet.train(data, recipe, seed=0, train_size=300, valid_size=1000)

epochs = [record.epoch for record in run.history]
best = min(run.history, key=lambda record: record.valid.loss)
last = run.history[-1]
print(f"lowest validation loss after epoch {best.epoch}: {best.valid.loss:.3f}, at the end {last.valid.loss:.3f}")
print(f"validation accuracy there {best.valid.accuracy:.3f}, at the end {last.valid.accuracy:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, score in zip(axes, ("loss", "accuracy"), strict=True):
    for split in ("train", "valid"):
        axis.plot(epochs, [getattr(getattr(record, split), score) for record in run.history], label=split)
    axis.axvline(best.epoch, color="gray", linestyle="--", label="lowest validation loss")
    axis.set(xlabel="epoch", ylabel=score)
axes[1].legend()
figure.savefig("stopping_point.png")
