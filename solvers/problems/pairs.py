"""Quadratic forms given as mappings from pairs of labels to numbers, as dimod and many others hold them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import checks
from solvers.problems.doors import is_mapping, kind


def pairs_form(
    name: str, pairs: Mapping[Any, Any], linear: Any = None, *, linear_name: str = ""
) -> tuple[sp.csr_array, NDArray[np.float64], tuple[Hashable, ...]]:
    """Return the matrix of a mapping {(i, j): value}, a vector of {i: value}, and the labels in order.

    Labels that are all integers are sorted, others stay as they come.  Both directions of a pair are two entries.

    Parameters
    ----------
    name, linear_name : str
        The arguments, for messages.
    pairs : mapping from pairs to real numbers
    linear : mapping from labels to real numbers, optional
        A sequence stands for the labels 0, 1, ...

    Raises
    ------
    TypeError
        For keys that are no pairs, or values that are no real numbers.
    ValueError
        If there is no label, or a value is not finite.
    """
    for key in pairs:
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(f"{name} must have pairs of labels as keys; found {key!r}")
    if linear is None:
        linear = {}
    elif not is_mapping(linear):
        values = checks.real_array(linear_name, linear, dimensions=1)
        linear = dict(enumerate(values.tolist()))
    entries = [checks.scalar(f"{name}[{key!r}]", value) for key, value in pairs.items()]
    biases = [checks.scalar(f"{linear_name}[{key!r}]", value) for key, value in linear.items()]
    labels = _in_order([*(label for pair in pairs for label in pair), *linear])
    if not labels:
        raise ValueError(f"{name} must have entries; found an empty {kind(pairs)}")
    place = {label: i for i, label in enumerate(labels)}
    n = len(labels)
    rows, columns = ([place[pair[side]] for pair in pairs] for side in (0, 1))
    vector = np.zeros(n)
    vector[[place[label] for label in linear]] = biases
    return (
        sp.csr_array(sp.coo_array((entries, (rows, columns)), shape=(n, n), dtype=np.float64)),
        vector,
        labels,
    )


def _in_order(found: list[Hashable]) -> tuple[Hashable, ...]:
    labels = tuple(dict.fromkeys(found))
    integers = [label for label in labels if isinstance(label, (int, np.integer))]
    return tuple(sorted(integers)) if len(integers) == len(labels) else labels
