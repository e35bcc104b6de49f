"""A server around scikit-learn's MLPClassifier: `python -m harness.servers.sklearn_server FILE PORT`."""

import pickle
import sys
from pathlib import Path

import numpy as np

from harness.servers.answers import run

classifier = pickle.loads(Path(sys.argv[1]).read_bytes())
run(lambda rows: classifier.predict_proba(np.divide(rows, 255, dtype=np.float32)), list(classifier.classes_))
