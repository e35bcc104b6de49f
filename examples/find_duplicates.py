"""Find what makes a test accuracy too optimistic: `python examples/find_duplicates.py`.

Forty copies of images are planted, with a little noise, and ten of them with a wrong label. The audit
compares all images across the splits and finds the copies. It takes about five seconds.
"""

import matplotlib.pyplot as plt
import numpy as np

import chalknet

rng = np.random.default_rng(0)
letters = chalknet.load_data("glyphs")
chosen = rng.choice(len(letters), 3000, replace=False)
images, labels = letters.inputs[chosen], letters.labels[chosen]
noise = rng.integers(-4, 5, images[:40].shape)
copies = np.clip(images[:40].astype(int) + noise, 0, 255).astype(np.uint8)
labels_of_copies = np.concatenate([(labels[:10] + 1) % 10, labels[10:40]])
data = chalknet.dataset_from_arrays(
    np.concatenate([images, copies]), np.concatenate([labels, labels_of_copies]), class_names=letters.class_names
)

found = chalknet.audit(data, chalknet.split_dataset(data, "stratified", 0.8, 0.1))
for check in found.findings:
    cost = "unknown" if check.cost is None else f"at most {100 * check.cost:.2f} points"
    print(f"{check.code}: {check.count:,} samples, effect on the test accuracy {cost}")

pairs = [pair for pair in found.worst if data.inputs[pair.samples[0]].std() > 0]
figure, axes = plt.subplots(2, 8, figsize=(9, 2.9), layout="constrained")
for column, pair in zip(axes.T, pairs[:4] + pairs[-4:], strict=True):
    for axis, sample, split, label in zip(column, pair.samples, pair.splits, pair.labels, strict=True):
        axis.imshow(data.inputs[sample], cmap="gray")
        axis.set_title(f"{label}, {split}", fontsize=10)
        axis.set_axis_off()
figure.savefig("find_duplicates.png")
