"""The courses: their tasks in the order in which a student meets them."""

from __future__ import annotations

from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.exercises.part2.conv_tasks import CONV2D_BACKWARD, CONV2D_FORWARD
from chalknet.exercises.part2.dropout_tasks import DROPOUT_BACKWARD, DROPOUT_FORWARD
from chalknet.exercises.part2.network_task import CONV_NETWORK_GRADIENTS
from chalknet.exercises.part2.penalty_task import L2_PENALTY
from chalknet.exercises.part2.pool_tasks import MAX_POOL_BACKWARD, MAX_POOL_FORWARD
from chalknet.exercises.part2.training_task import TRAINING as PART2_TRAINING
from chalknet.exercises.part2.window_tasks import ADD_WINDOWS, WINDOWS
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

PART2 = Course(
    "part2",
    "A network for images, with convolution, pooling and dropout",
    (
        WINDOWS,
        ADD_WINDOWS,
        CONV2D_FORWARD,
        CONV2D_BACKWARD,
        MAX_POOL_FORWARD,
        MAX_POOL_BACKWARD,
        DROPOUT_FORWARD,
        DROPOUT_BACKWARD,
        L2_PENALTY,
        CONV_NETWORK_GRADIENTS,
        PART2_TRAINING,
    ),
)

COURSES = {course.name: course for course in (WRITEUP, PART2)}


def course_named(name: str) -> Course:
    """Return a course.

    Raises:
        ConfigError: there is no course of this name.
    """
    if name not in COURSES:
        raise ConfigError(f"course must be one of {', '.join(COURSES)}, got {name!r}.{near_match(name, COURSES)}")
    return COURSES[name]
