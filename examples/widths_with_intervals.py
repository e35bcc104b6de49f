"""Compare numbers of hidden units with 95 % intervals: `python examples/widths_with_intervals.py`.

The intervals allow for two sources of variance: the seeds, and the images on which the networks are
compared. If you interrupt the script, run it again: finished runs are kept. It takes about twenty
seconds.
"""

import sys

import matplotlib.pyplot as plt

import chalknet
from chalknet.studies.compare import compare_configurations, configuration_accuracy
from chalknet.studies.findings import comparison_findings

quick = "--quick" in sys.argv
widths, epochs, seeds = ([2, 8], 2, 2) if quick else ([5, 20, 80, 320], 15, 3)
results = chalknet.study("glyphs", {"hidden": widths}, out="runs/example-widths", seeds=seeds, epochs=epochs)
correct = results.correct("valid")  # for each configuration: (seeds, images), whether the prediction is correct
for finding in comparison_findings(compare_configurations(correct), split="validation"):
    print(finding.sentence)

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for width, of_width in zip(widths, correct.values(), strict=True):
    interval = configuration_accuracy(of_width)
    axis.plot([width] * len(of_width), 100 * of_width.mean(axis=1), "o", color="C1", alpha=0.5)
    axis.plot([width, width], [100 * interval.low, 100 * interval.high], color="C0", linewidth=3)
    axis.plot(width, 100 * interval.accuracy, "s", color="C0")
axis.set_xscale("log", base=2)
axis.set_xticks(widths, widths)
axis.set(xlabel="hidden units", ylabel="validation accuracy, %", title="95 % intervals, and the single seeds")
figure.savefig("widths_with_intervals.png")
