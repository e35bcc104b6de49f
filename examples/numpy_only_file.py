"""Export a network as one Python file that needs only NumPy: `python examples/numpy_only_file.py`.

The file has the weights in it and gives the same probabilities. The picture shows its input weights:
each image belongs to one hidden unit. It takes about five seconds.
"""

import importlib.util
import sys

import matplotlib.pyplot as plt
import numpy as np

import chalknet

data = chalknet.load_data("glyphs")
settings = {"hidden": [40], "epochs": 1 if "--quick" in sys.argv else 10, "seed": 0}
run = chalknet.train(data, **settings)
chalknet.export_model(run.network, "letters.py", kind="numpy", overwrite=True)

spec = importlib.util.spec_from_file_location("letters", "letters.py")
letters = importlib.util.module_from_spec(spec)
spec.loader.exec_module(letters)
difference = abs(letters.predict_proba(data.inputs[:1000]) - run.network.predict_proba(data.inputs[:1000])).max()
print(f"largest difference of a probability: {difference:.1e}")
assert difference < 1e-5

weights = run.network.parameters["hidden1.weight"].reshape(-1, 28, 28)
scale = np.quantile(abs(weights), 0.99)
figure, axes = plt.subplots(4, 10, figsize=(9, 3.8), layout="constrained")
for axis, image in zip(axes.flat, weights, strict=True):
    axis.imshow(image, cmap="RdBu", vmin=-scale, vmax=scale)
    axis.set_axis_off()
figure.savefig("numpy_only_file.png")
