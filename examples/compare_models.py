"""Compare two scikit-learn and two PyTorch models with chalknet: `python examples/compare_models.py`.

Each model is trained with three seeds on scikit-learn's handwritten digits and predicts the same test samples. It needs
`pip install "chalknet[sklearn]" torch`, and takes about ten seconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split

import chalknet

SEEDS, EPOCHS = ((0, 1), 2) if "--quick" in sys.argv else ((0, 1, 2), 30)
images, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(images / 16, labels, test_size=0.5, random_state=0)


def forest(kind, seed):
    return kind(n_estimators=50, random_state=seed).fit(x_train, y_train).predict(x_test)


def network(layers, seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8, 8)), *(layer() for layer in layers))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model(torch.tensor(x_test, dtype=torch.float32)).argmax(1).numpy()


dense = [torch.nn.Flatten, lambda: torch.nn.Linear(64, 64), torch.nn.ReLU, lambda: torch.nn.Linear(64, 10)]
convolution = [
    lambda: torch.nn.Conv2d(1, 16, 3, padding=1),
    torch.nn.ReLU,
    torch.nn.Flatten,
    lambda: torch.nn.Linear(1024, 10),
]
predictions = {
    "random forest": np.stack([forest(RandomForestClassifier, seed) for seed in SEEDS]),
    "extra trees": np.stack([forest(ExtraTreesClassifier, seed) for seed in SEEDS]),
    "dense network": np.stack([network(dense, seed) for seed in SEEDS]),
    "convolution": np.stack([network(convolution, seed) for seed in SEEDS]),
}
found = chalknet.compare(predictions, labels=y_test, out="compared", title="Four models of handwritten digits")
print(found)
print(f"\nThe report is {found.html}.")

figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
for name, of_model in predictions.items():
    axis.plot(100 * (of_model == y_test).mean(axis=1), [name] * len(of_model), "o")
axis.set_xlabel("test accuracy of each seed, %")
figure.savefig("compare_models.png")
