"""Search settings with scikit-learn's GridSearchCV: `python examples/scikit_learn_search.py`.

`ChalkClassifier` works in searches and pipelines like every estimator. The example needs the extra
`sklearn`, and takes about ten seconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

import chalknet

quick = "--quick" in sys.argv
images, labels = load_digits(return_X_y=True)
grid = {"hidden": [4, 16] if quick else [4, 16, 64], "learning_rate": [0.001, 0.01] if quick else [0.001, 0.003, 0.01]}
classifier = chalknet.ChalkClassifier(epochs=2 if quick else 15, random_state=0)
search = GridSearchCV(classifier, grid, cv=3).fit(images, labels)
print(f"best: {search.best_params_}, accuracy {search.best_score_:.4f}")

accuracy = search.cv_results_["mean_test_score"].reshape(len(grid["hidden"]), -1)
figure, axis = plt.subplots(figsize=(4.5, 3.4), layout="constrained")
axis.imshow(accuracy, cmap="Blues")
axis.set_xticks(range(len(grid["learning_rate"])), grid["learning_rate"])
axis.set_yticks(range(len(grid["hidden"])), grid["hidden"])
axis.set(xlabel="learning rate", ylabel="hidden units", title="accuracy in 3-fold cross-validation")
for (row, column), value in np.ndenumerate(accuracy):
    axis.text(column, row, f"{100 * value:.1f} %", ha="center", va="center", color="black" if value < 0.9 else "white")
figure.savefig("scikit_learn_search.png")
