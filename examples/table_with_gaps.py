"""Train on a table with categories and missing values: `python examples/table_with_gaps.py`.

The picture shows how much accuracy is lost if the values of one column are shuffled among the test
rows. A column that the network does not use loses nothing. It takes about five seconds.
"""

import csv
import random
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import chalknet

table = Path(__file__).parents[1] / "docs" / "tutorials" / "birds.csv"
rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
random.Random(0).shuffle(rows)
train, test = ({name: [row[name] for row in part] for name in rows[0]} for part in (rows[:400], rows[400:]))

settings = {"hidden": [16], "epochs": 5} if "--quick" in sys.argv else {}
run = chalknet.train(train, label_column="species", seed=0, **settings)
found = chalknet.evaluate(run.network, test)
accuracy = found.accuracy
print(f"accuracy on {len(found)} rows: {accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})")

lost = {}
for name in ("island", "bill_length", "bill_depth", "flipper"):
    shuffled = test | {name: random.Random(1).sample(test[name], len(test[name]))}
    lost[name] = accuracy.value - chalknet.evaluate(run.network, shuffled).accuracy.value

figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
axis.barh(list(lost), [100 * value for value in lost.values()])
axis.set_xlabel("accuracy lost if the column is shuffled, in percentage points")
figure.savefig("table_with_gaps.png")
