"""Wrong solutions that are made of a right one: an output replaced, all outputs scaled, or their order changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def with_output(right: Function, part: int, change: Function) -> Function:
    """Return a function whose output number `part` is change(its arguments, what `right` returns)."""

    def variant(*arguments: Any) -> tuple[Any, ...]:
        outputs = right(*arguments)
        return (*outputs[:part], change(*arguments, outputs), *outputs[part + 1 :])

    return variant


def scaled(right: Function, factor: Function) -> Function:
    """Return a function whose outputs are those of `right` times factor(its first argument)."""

    def variant(first: Any, *others: Any) -> tuple[Any, ...]:
        return tuple(factor(first) * one for one in right(first, *others))

    return variant


def in_order(right: Function, *order: int) -> Function:
    """Return a function that returns the outputs of `right` in another order."""

    def variant(*arguments: Any) -> tuple[Any, ...]:
        outputs = right(*arguments)
        return tuple(outputs[k] for k in order)

    return variant
