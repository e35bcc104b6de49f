"""Average several networks: `python examples/ensemble.py`.

Networks from different seeds make different mistakes, so the average of their probabilities is right
more often than most of them. It takes about twenty seconds.
"""

import sys

import matplotlib.pyplot as plt

import chalknet

quick = "--quick" in sys.argv
data = chalknet.load_data("glyphs")
members, accuracies = [], []
for seed in range(2 if quick else 8):
    run = chalknet.train(data, hidden=[64], epochs=1 if quick else 8, seed=seed, train_size=2000, valid_size=500)
    members.append(run.network)
    accuracies.append(run.kept.test.accuracy)
test = run.splits.test
together = [
    chalknet.accuracy(chalknet.Ensemble(members[:n]).predict(data.inputs[test]), data.labels[test])
    for n in range(1, len(members) + 1)
]
print(f"single networks {min(accuracies):.4f} to {max(accuracies):.4f}, all together {together[-1]:.4f}")

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
numbers = range(1, len(members) + 1)
axis.plot(numbers, [100 * value for value in accuracies], "o", label="network with this seed alone")
axis.plot(numbers, [100 * value for value in together], "s-", label="average of the first networks")
axis.set(xlabel="number of networks", ylabel="test accuracy, %")
axis.legend()
figure.savefig("ensemble.png")
