"""Buffers of caches that are held as integers."""

import numpy as np

from npuopt.bundle import HeldAs
from npuopt.runtime.generation.caches import Caches, cache_bytes, empty
from support.toy_decoder import record


def test_an_empty_place_of_an_integer_cache_holds_what_stands_for_zero() -> None:
    cache = record("new").caches[0]
    held = HeldAs(dtype="uint8", scale=(0.1, 0.2), zero_point=(7, 130), axis=1)
    buffer = empty(cache.model_copy(update={"dtype": "uint8", "held_as": held}))
    assert buffer.dtype == np.uint8
    assert (buffer[:, 0] == 7).all()
    assert (buffer[:, 1] == 130).all()
    outside_only = empty(cache.model_copy(update={"held_as": held}))
    assert (outside_only == np.zeros(buffer.shape, np.float32)).all(), "where the graph takes floats"


def test_what_was_read_is_forgotten_and_memory_is_that_of_integers() -> None:
    held = HeldAs(dtype="uint8", scale=(0.1,), zero_point=(7,))
    plain = record("new")
    caches = tuple(cache.model_copy(update={"dtype": "uint8", "held_as": held}) for cache in plain.caches)
    integers = plain.model_copy(update={"caches": caches})
    kept = Caches(integers)
    assert sum(buffer.nbytes for buffer in kept.buffers.values()) == cache_bytes(integers) == cache_bytes(plain) // 4
    new = kept.positions(1, 1)
    kept.take({cache.output: np.full((1, cache.heads, 1, cache.size), 9, np.uint8) for cache in caches}, new)
    assert kept.length == 1
    kept.forget()
    assert {int(buffer.max()) for buffer in kept.buffers.values()} == {7}
