"""Compare a dense and a convolutional network on images, and see its filters: `python examples/convolution.py`.

Both networks see the same 4,000 letters. The lower pictures show what each filter of the convolution
makes of one letter: its feature maps. It takes about fifteen seconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import chalknet
from chalknet.network.conv2d import conv2d

quick = "--quick" in sys.argv
data = chalknet.load_data("glyphs")
convolution = {"type": "conv2d", "filters": 8, "kernel_size": 5}
layers = [convolution, "relu", "max_pool2d", "flatten", {"type": "dense", "units": 64}, "relu"]
networks = {"dense": {"hidden": [64]}, "convolution": {"layers": layers}}
size = {"epochs": 1, "train_size": 200} if quick else {"epochs": 8, "train_size": 4000}
for name, settings in networks.items():
    run = chalknet.train(data, seed=0, valid_size=1000, **size, **settings)
    print(f"{name}: test accuracy {run.kept.test.accuracy:.4f} in {run.seconds:.1f} s")

weight, bias = run.network.parameters["conv1.weight"], run.network.parameters["conv1.bias"]
image = data.inputs[run.splits.test[3]][np.newaxis, :, :, np.newaxis] / np.float32(255)
maps = np.maximum(conv2d(image, weight, bias, padding=2)[0][0], 0)  # (28, 28, filters)
figure, axes = plt.subplots(2, len(weight), figsize=(9, 2.6), layout="constrained")
for k, (kernel, feature_map) in enumerate(zip(axes[0], axes[1], strict=True)):
    kernel.imshow(weight[k, :, :, 0], cmap="RdBu", vmin=-abs(weight).max(), vmax=abs(weight).max())
    feature_map.imshow(maps[:, :, k], cmap="gray")
for axis in axes.flat:
    axis.set_axis_off()
figure.savefig("convolution.png")
