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
    assert (found["all-reduce"].times, found["all-reduce"].bytes) == (5, 2 * 3 / 4 * 2 * 16 * 4)
    assert (found["all-gather"].times, found["all-gather"].bytes) == (1, 3 / 4 * 8 * 16 * 4)


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


def _program(*body: str) -> list:
    """The collectives of an entry computation that gathers 16×8 numbers of 2 bytes between 4 devices."""
    called = """
%product (a: bf16[8,8], b: bf16[8,8]) -> bf16[8,8] {
  ROOT %c = bf16[8,8]{1,0} convolution(%a, %b), dim_labels=bf_io->bf
}

%begun (p: bf16[4,8]) -> bf16[16,8] {
  ROOT %g.1 = bf16[16,8]{1,0} all-gather(%p), replica_groups={{0,1,2,3}}, frontend_attributes={chain_id="7"}
}

%ended (p: bf16[4,8]) -> bf16[16,8] {
  ROOT %g.2 = bf16[16,8]{1,0} all-gather(%p), replica_groups={{0,1,2,3}}, frontend_attributes={chain_id="7"}
}

%all-reduce-scatter.1 (p: bf16[16,8]) -> bf16[4,8] {
  %r = bf16[16,8]{1,0} all-reduce(%p), replica_groups=[1,4]<=[4], to_apply=%add
  ROOT %s = bf16[4,8]{1,0} dynamic-slice(%r, %i, %z), dynamic_slice_sizes={4,8}
}

ENTRY %main (p: bf16[4,8]) -> bf16[16,8] {
  %p = bf16[4,8]{1,0} parameter(0)
"""
    return collectives("\n".join([called, *(f"  {line}" for line in body), "}", ""]))


_START = "%s = (bf16[4,8]{1,0:T(8,128)(2,1)}, bf16[16,8]{1,0:T(8,128)(2,1)}) all-gather-start(%p), dimensions={0}"
_GROUPS = ", replica_groups=mesh['x'=2,'y'=4] {'y'}"
_DONE = "ROOT %d = bf16[16,8]{1,0} all-gather-done(%s)"
_PRODUCT = "%f = bf16[8,8]{1,0} fusion(%a, %b), kind=kOutput, calls=%product"
_SMALL = "%o = bf16[8,8]{1,0} add(%a, %b)"


@pytest.mark.parametrize(
    ("between", "hidden"),
    [([], False), ([_SMALL], False), ([_PRODUCT], True)],
    ids=["nothing", "no product", "product"],
)
def test_what_runs_between_begin_and_end(between, hidden):
    (one,) = _program(_START + _GROUPS, *between, _DONE)
    assert (one.kind, one.times, one.bytes, one.hidden) == ("all-gather", 1, 3 / 4 * 16 * 8 * 2, hidden)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_chain_of_fusions_is_one_collective(hidden):
    """As TPUs write it: each of the chain repeats the line of the collective."""
    between = [_PRODUCT] if hidden else []
    (one,) = _program(
        "%async-collective-start.3 = bf16[16,8]{1,0} fusion(%p), kind=kCustom, calls=%begun",
        *between,
        "ROOT %async-collective-done.3 = bf16[16,8]{1,0} fusion(%x), kind=kCustom, calls=%ended",
    )
    assert (one.kind, one.times, one.bytes, one.hidden) == ("all-gather", 1, 3 / 4 * 16 * 8 * 2, hidden)


def test_a_sum_of_which_each_keeps_a_part():
    (one,) = _program("ROOT %f = bf16[4,8]{1,0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1")
    assert (one.kind, one.times, one.bytes) == ("reduce-scatter", 1, 3 / 4 * 16 * 8 * 2)


@pytest.mark.parametrize(
    "groups",
    [
        "{{0,4,8},{1,5,9}}",
        "[2,3]<=[3,2]T(1,0)",
        "mesh['axis_0'=3,'axis_1'=2] {'axis_0'}",
        "mesh['axis_0'=3,'axis_1'=1,'axis_2'=2], device_ids=([2,3]T(1,0)) {'axis_0','axis_1'}",
    ],
)
def test_groups_of_devices_as_compilers_write_them(groups):
    (one,) = _program(f"ROOT %r = f32[4,8]{{1,0}} reduce-scatter(%p), replica_groups={groups}, dimensions={{0}}")
    assert one.bytes == 2 * 4 * 8 * 4  # of three parts, two go out


def test_several_begun_together():
    """Operands and results stand beside each other; a permutation's are of one size."""
    groups = "replica_groups=[1,4]<=[4]"
    both = "((f32[4,8]{1,0}, f32[2,8]{1,0}), (f32[16,8]{1,0}, f32[8,8]{1,0}))"
    (one,) = _program(f"ROOT %g = {both} all-gather-start(%p, %q), {groups}, dimensions={{0}}")
    assert one.bytes == 3 * (4 + 2) * 8 * 4
    both = "((f32[16,8]{1,0}, f32[8,8]{1,0}), (f32[4,8]{1,0}, f32[2,8]{1,0}))"
    (one,) = _program(f"ROOT %g = {both} reduce-scatter-start(%p, %q), {groups}, dimensions={{0}}")
    assert one.bytes == 3 * (4 + 2) * 8 * 4
    pair = "(f32[4,8]{1,0}, f32[4,8]{1,0})"
    (one,) = _program(f"ROOT %g = {pair} collective-permute-start(%p), source_target_pairs={{{{0,1}},{{1,0}}}}")
    assert one.bytes == 4 * 8 * 4


def test_unknown_groups_are_not_guessed():
    with pytest.raises(ValueError, match="can't tell between which devices"):
        _program("ROOT %r = f32[4,8]{1,0} all-gather(%p), replica_groups=everybody, dimensions={0}")


def test_a_collective_within_one_device_is_none():
    assert _program("ROOT %g = bf16[4,8]{1,0} all-gather(%p), replica_groups={{0},{1}}, dimensions={0}") == []


def _loop(condition: str) -> list:
    return collectives(f"""
%body (x: s32[]) -> s32[] {{
  ROOT %g = f32[8]{{0}} all-reduce(%x), channel_id=1, replica_groups={{{{0,1}}}}, to_apply=%add
}}

%condition (x: s32[]) -> pred[] {{
  %limit = s32[]{{:T(128)}} constant(12)
  {condition}
}}

ENTRY %main (p: s32[]) -> s32[] {{
  ROOT %w = s32[] while(%p), condition=%condition, body=%body
}}
""")


def test_a_loop_that_only_its_condition_bounds():
    (one,) = _loop("ROOT %lt = pred[] compare(%x, %limit), direction=LT")
    assert (one.times, one.bytes) == (12, 32)
    with pytest.raises(ValueError, match="doesn't say how often it turns"):
        _loop("ROOT %ne = pred[] compare(%x, %limit), direction=NE")
