"""The courses by name."""

from __future__ import annotations

from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.exercises.task import Course
from chalknet.exercises.writeup import WRITEUP

COURSES = {WRITEUP.name: WRITEUP}


def course_named(name: str) -> Course:
    """Return a course.

    Raises:
        ConfigError: there is no course of this name.
    """
    if name not in COURSES:
        raise ConfigError(f"course must be one of {', '.join(COURSES)}, got {name!r}.{near_match(name, COURSES)}")
    return COURSES[name]
