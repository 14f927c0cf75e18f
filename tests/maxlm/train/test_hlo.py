"""Collectives as counted from compiled programs, whose number is known by construction."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from maxlm.train.hlo import collectives, largest_arrays
from tests import tiny


def _text(function, *shapes) -> str:
    return jax.jit(function).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).compile().as_text()


@functools.cache
def _looped() -> str:
    """A sum over four devices in each of 5 turns of a loop, and one gathering after it."""
    mesh = tiny.mesh(data=4)

    def local(x):
        x, _ = lax.scan(lambda x, _: (jnp.tanh(lax.psum(x, "data")), None), x, length=5)
        return lax.all_gather(x, "data")

    everywhere = PartitionSpec("data")
    with jax.set_mesh(mesh):
        return _text(jax.shard_map(local, in_specs=everywhere, out_specs=everywhere, check_vma=False), (8, 16))


def test_loops_count_as_often_as_they_turn():
    found = {one.kind: one for one in collectives(_looped())}
    assert set(found) == {"all-reduce", "all-gather"}
    assert (found["all-reduce"].times, found["all-reduce"].bytes) == (5, 2 * 16 * 4)
    assert (found["all-gather"].times, found["all-gather"].bytes) == (1, 8 * 16 * 4)


def test_loops_within_loops():
    mesh = tiny.mesh(data=2)

    def local(x):
        def outer(x, _):
            return lax.scan(lambda x, _: (jnp.sin(lax.psum(x, "data")), None), x, length=3)[0], None

        return lax.scan(outer, x, length=4)[0]

    with jax.set_mesh(mesh):
        text = _text(
            jax.shard_map(local, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"), check_vma=False),
            (2, 4),
        )
    assert sum(one.times for one in collectives(text)) == 12


def test_a_program_without_collectives():
    assert collectives(_text(lambda x: x @ x, (4, 4))) == []


@pytest.mark.parametrize(("at_least", "expected"), [(1, True), (8 * 16 + 1, False)])
def test_largest_arrays(at_least, expected):
    shapes = largest_arrays(_looped(), "f32", at_least)
    assert ((2, 16) in shapes) is expected
    assert largest_arrays(_looped(), "bf16", 1) == []


def test_started_and_finished_apart():
    text = """
ENTRY %main (p: bf16[4,8]) -> bf16[16,8] {
  %p = bf16[4,8]{1,0} parameter(0)
  %s = (bf16[4,8]{1,0:T(8,128)(2,1)}, bf16[16,8]{1,0:T(8,128)(2,1)}) all-gather-start(%p), dimensions={0}
  ROOT %d = bf16[16,8]{1,0} all-gather-done(%s)
}
"""
    (one,) = collectives(text)
    assert (one.kind, one.times, one.bytes, one.overlaps) == ("all-gather", 1, 16 * 8 * 2, True)
