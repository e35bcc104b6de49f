"""The courses: their tasks in the order in which a student meets them."""

from __future__ import annotations

from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.exercises.task import Course
from chalknet.exercises.writeup.dense_tasks import DENSE_BACKWARD, DENSE_FORWARD
from chalknet.exercises.writeup.loss_tasks import CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT
from chalknet.exercises.writeup.network_task import NETWORK_GRADIENTS
from chalknet.exercises.writeup.relu_tasks import RELU_BACKWARD, RELU_FORWARD
from chalknet.exercises.writeup.score_tasks import ACCURACY, EARLY_STOPPING
from chalknet.exercises.writeup.softmax_task import SOFTMAX
from chalknet.exercises.writeup.training_task import TRAINING
from chalknet.exercises.writeup.update_task import MOMENTUM_UPDATE

WRITEUP = Course(
    "writeup",
    "A network with one hidden layer, trained by hand-derived gradients",
    (
        SOFTMAX,
        CROSS_ENTROPY,
        CROSS_ENTROPY_GRADIENT,
        DENSE_FORWARD,
        DENSE_BACKWARD,
        RELU_FORWARD,
        RELU_BACKWARD,
        NETWORK_GRADIENTS,
        MOMENTUM_UPDATE,
        ACCURACY,
        EARLY_STOPPING,
        TRAINING,
    ),
)

COURSES = {WRITEUP.name: WRITEUP}


def course_named(name: str) -> Course:
    """Return a course.

    Raises:
        ConfigError: there is no course of this name.
    """
    if name not in COURSES:
        raise ConfigError(f"course must be one of {', '.join(COURSES)}, got {name!r}.{near_match(name, COURSES)}")
    return COURSES[name]
