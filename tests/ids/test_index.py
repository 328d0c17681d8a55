"""The trie against Python sets, over random ragged tries."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import ItemIndex, simple
from jaxrec.ids._starts import Starts

# Every example has shapes of its own and so compiles anew; few suffice, each checks all nodes.
quick = settings(max_examples=4, deadline=None)


@st.composite
def tries(draw):
    """Codes [I, L] of a random trie, its sizes, and a way to read its levels."""
    levels = draw(st.integers(1, 4))
    sizes = tuple(draw(st.integers(1, 40)) for _ in range(levels))
    items = draw(st.integers(1, min(200, int(np.prod(sizes)))))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    # A power skews the draw, so that some nodes are wide and others have one child.
    flat = rng.random((8 * items, levels)) ** draw(st.sampled_from([1, 4]))
    codes = np.unique((flat * sizes).astype(int), axis=0)
    codes = rng.permutation(codes)[:items]
    return codes, sizes, draw(st.sampled_from([0, 1 << 26]))


def expected_legal(codes, sizes, allowed):
    """Legal codes [N_l, C_l] of every node of each level, the slow way."""
    out = []
    for level, size in enumerate(sizes):
        nodes = sorted({tuple(row[:level]) for row in codes.tolist()})
        legal = {(tuple(row[:level]), row[level]) for row in codes[allowed].tolist()}
        out.append(np.array([[(node, code) in legal for code in range(size)] for node in nodes]))
    return out


# Without jit every operation of every shape would be a program of its own.
_lookup = jax.jit(lambda index, codes: index.lookup(codes))
_restrict = jax.jit(lambda index, allowed: index.restrict(allowed))
_exclude = jax.jit(lambda index, items: index.exclude(items))
_legal = jax.jit(
    lambda index, level, node, alive=None: index.legal(level, node, alive), static_argnums=1
)


@jax.jit
def legal_everywhere(index, alive=None):
    """Legality at every node; under a batch of restrictions the result has its axis in front."""
    out = []
    for level, starts in enumerate(index.starts):
        node = jnp.arange(starts.num_nodes, dtype=jnp.int32)
        if alive is not None and alive[level].ndim == 2:
            # nodes [B, N, 1]: any number of axes may follow the batch
            batch = alive[level].shape[0]
            node = jnp.broadcast_to(node[None, :, None], (batch, node.shape[0], 1))
            out.append(index.legal(level, node, alive)[:, :, 0])
        else:
            out.append(index.legal(level, node, None if alive is None else alive[level]))
    return out


@quick
@given(tries())
def test_legal_codes_equal_the_brute_force_set(trie):
    codes, sizes, limit = trie
    index = ItemIndex.build(codes, sizes, mask_limit=limit)
    everything = np.ones(len(codes), bool)
    jax.tree.map(
        np.testing.assert_array_equal,
        legal_everywhere(index),
        expected_legal(codes, sizes, everything),
    )


@quick
@given(tries(), st.integers(0, 2**31))
def test_ids_round_trip_and_invalid_ids_give_minus_one(trie, seed):
    codes, sizes, limit = trie
    index = ItemIndex.build(codes, sizes, mask_limit=limit)
    rng = np.random.default_rng(seed)
    # Neighbours of real IDs, codes out of range among them.
    tried = codes[rng.integers(0, len(codes), 100)] + rng.integers(-2, 3, (100, len(sizes)))
    tried[:5] = [-1] * len(sizes)
    tried[5:9] = 2**31 - 1
    items = {tuple(row): i for i, row in enumerate(codes.tolist())}
    expected = [items.get(tuple(row), -1) for row in tried.tolist()]
    order = np.arange(len(codes), dtype=np.int32)

    found = jax.jit(lambda i, t, o: (i.lookup(t), i.lookup(i.codes_of(o)), i.codes_of(o)))
    looked, back, ids = found(index, jnp.asarray(tried, jnp.int32), order)
    np.testing.assert_array_equal(looked, expected)
    np.testing.assert_array_equal(back, order)
    np.testing.assert_array_equal(ids, codes)


@quick
@given(tries(), st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 0.95]))
def test_restricted_and_excluded_legality_equal_brute_force(trie, seed, share):
    codes, sizes, limit = trie
    index = ItemIndex.build(codes, sizes, mask_limit=limit)
    rng = np.random.default_rng(seed)
    allowed = rng.random((2, len(codes))) < share
    # Repeats and padding may stand in the list of excluded items, in any order.
    banned = np.full((2, 2 * len(codes)), -1, np.int32)
    for row, mask in zip(banned, allowed, strict=True):
        gone = np.tile(np.flatnonzero(~mask), 2)
        row[: len(gone)] = gone
        rng.shuffle(row)
    alive = jax.jit(lambda i, a: (i.restrict(a), i.restrict(a[0])))(index, jnp.asarray(allowed))
    dead = jax.jit(lambda i, b: i.exclude(b))(index, jnp.asarray(banned))
    restricted, first = legal_everywhere(index, alive[0]), legal_everywhere(index, alive[1])
    excluded = legal_everywhere(index, dead)
    expected = [expected_legal(codes, sizes, mask) for mask in allowed]
    for level in range(len(sizes)):
        for b in range(2):
            np.testing.assert_array_equal(restricted[level][b], expected[b][level])
            np.testing.assert_array_equal(excluded[level][b], expected[b][level])
        np.testing.assert_array_equal(first[level], expected[0][level])


def test_restrict_marks_the_edges_of_the_drawing():
    # (0,1) (0,2) (3,1): edges of level 0 are 0 and 3, of level 1 the three leaves
    index = ItemIndex.build(np.array([[3, 1], [0, 2], [0, 1]]), (4, 3))
    np.testing.assert_array_equal(index.starts[0].unpack(), [0, 2])
    np.testing.assert_array_equal(index.starts[1].unpack(), [0, 2, 3])
    np.testing.assert_array_equal(index.edges[0], [0, 3])
    np.testing.assert_array_equal(index.edges[1], [1, 2, 1])
    np.testing.assert_array_equal(index.leaf_items, [2, 1, 0])
    alive = _restrict(index, jnp.array([False, True, False]))
    np.testing.assert_array_equal(alive[0], [True, False])
    np.testing.assert_array_equal(alive[1], [False, True, False])
    dead = _exclude(index, jnp.array([2, 0, 2, -1]))
    assert sorted(np.asarray(dead[0]).tolist()) == [-1, -1, -1, 1]


@pytest.mark.parametrize("mask_limit", [0, 1 << 26])
def test_illegal_children_and_negative_states_lead_nowhere(mask_limit):
    codes = np.array(list(itertools.product(range(12), range(11))))[::2]
    index = ItemIndex.build(codes, (40, 40), mask_limit=mask_limit)
    node = jnp.array([0, 0, 0, 0, -1], jnp.int32)
    code = jnp.array([0, 12, -1, 2**31 - 1, 0], jnp.int32)
    none, alive = jnp.array([-1]), jnp.ones(12, bool)

    @jax.jit
    def ask(index):
        legal = index.legal(0, none), index.legal(0, none, alive)
        return index.child(0, node, code), legal, index.item(none), index.codes_of(none)

    child, legal, item, ids = ask(index)
    np.testing.assert_array_equal(child, [0, -1, -1, -1, -1])
    assert not legal[0].any()
    assert not legal[1].any()
    np.testing.assert_array_equal(item, [-1])
    np.testing.assert_array_equal(ids, [[-1, -1]])


def test_masks_and_windows_agree_on_wide_codes():
    codes = simple.random(2000, 2, 300, seed=1)
    masked = ItemIndex.build(codes)
    window = ItemIndex.build(codes, mask_limit=0)
    assert masked.masks[0] is not None and window.masks[0] is None
    for level, nodes in enumerate([1, masked.starts[1].num_nodes]):
        node = jnp.arange(nodes, dtype=jnp.int32)
        np.testing.assert_array_equal(_legal(masked, level, node), _legal(window, level, node))
    found = [_lookup(index, masked.item_codes) for index in (masked, window)]
    np.testing.assert_array_equal(found[0], np.arange(2000))
    np.testing.assert_array_equal(found[1], np.arange(2000))


def test_the_index_is_a_jit_argument_and_does_not_recompile():
    traces = []

    @jax.jit
    def search(index, codes):
        traces.append(1)
        alive = index.restrict(jnp.ones((1, index.num_items), bool))
        return index.lookup(codes), index.legal(0, jnp.zeros((1, 1), jnp.int32), alive)

    for seed in range(2):
        codes = simple.random(60, 1, 60, seed=seed)  # one shape of trie
        index = ItemIndex.build(codes)
        items, legal = search(index, index.item_codes)
        np.testing.assert_array_equal(items, np.arange(60))
        assert legal.all()
    assert len(traces) == 1


def test_two_items_with_one_id_are_named():
    with pytest.raises(DataError, match=r"items 1 and 3 share the ID \(2, 0\)"):
        ItemIndex.build(np.array([[0, 0], [2, 0], [1, 1], [2, 0]]), (3, 2))


def test_bad_codes_are_refused():
    with pytest.raises(ConfigError, match="without sizes"):
        ItemIndex.build(np.zeros((1, 1), int))
    with pytest.raises(DataError, match="item 0 has code 5 at level 1"):
        ItemIndex.build(np.array([[0, 5]]), (3, 5))
    with pytest.raises(DataError, match="no items to give IDs to"):
        ItemIndex.build(np.zeros((0, 2), int), (3, 5))
    with pytest.raises(DataError, match="whole numbers"):
        ItemIndex.build(np.zeros((1, 2)), (3, 5))


def test_a_saved_index_comes_back_equal(tmp_path):
    index = ItemIndex.build(simple.random(300, 3, (7, 40, 300), seed=0))
    index.save(tmp_path)
    again = ItemIndex.load(tmp_path)
    assert jax.tree.structure(again) == jax.tree.structure(index)
    jax.tree.map(np.testing.assert_array_equal, again, index)
    assert [p.name for p in tmp_path.iterdir()] == ["index.safetensors"]


def test_a_damaged_index_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="no item index at"):
        ItemIndex.load(tmp_path)
    ItemIndex.build(simple.random(300, 2, 40)).save(tmp_path)
    file = tmp_path / "index.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match="damaged") as caught:
        ItemIndex.load(tmp_path)
    assert "\n" not in str(caught.value)
    flipped = bytearray(good)
    flipped[-len(good) // 3] ^= 255
    file.write_bytes(bytes(flipped))
    with pytest.raises(DataError, match="damaged"):
        ItemIndex.load(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=300), st.integers(1, 70_000))
def test_compressed_starts_are_the_starts(steps, factor):
    starts = np.cumsum([0, *steps]) * factor
    packed = Starts.pack(starts)
    np.testing.assert_array_equal(packed.unpack(), starts)
    assert packed.num_nodes == len(steps)


@st.composite
def changes(draw):
    """A trie, and codes and numbers of items that come, go, and get other IDs."""
    codes, sizes, limit = draw(tries())
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    every = np.stack(np.unravel_index(rng.permutation(int(np.prod(sizes)))[:5000], sizes), 1)
    taken = {tuple(row) for row in codes.tolist()}
    fresh = np.array([row for row in every.tolist() if tuple(row) not in taken], int)
    fresh = fresh.reshape(-1, len(sizes))[: draw(st.integers(0, 30))]
    gone = rng.permutation(len(codes))[: draw(st.integers(0, len(codes) - 1))]
    return codes, sizes, limit, fresh, gone, draw(st.sampled_from([0.0, 0.3]))


@quick
@given(changes())
def test_an_updated_index_is_the_index_of_what_is_left(change):
    codes, sizes, limit, fresh, gone, room = change
    index = ItemIndex.build(codes, sizes, mask_limit=limit, room=room)
    index = index.updated(fresh if len(fresh) else None, remove=gone)
    left = {tuple(row): i for i, row in enumerate(codes.tolist()) if i not in set(gone.tolist())}
    top = max(left.values()) + 1
    left |= {tuple(row): top + i for i, row in enumerate(fresh.tolist())}
    assert index.num_leaves() == len(left)
    tried = np.concatenate([codes, fresh]).astype(np.int32)
    expected = [left.get(tuple(row), -1) for row in tried.tolist()]
    np.testing.assert_array_equal(_lookup(index, jnp.asarray(tried)), expected)
    rows = np.array(list(left))
    legal = legal_everywhere(index)
    for level, brute in enumerate(expected_legal(rows, sizes, np.ones(len(rows), bool))):
        np.testing.assert_array_equal(legal[level][: len(brute)], brute)
    # What is excluded is gone too, and nothing else.
    out = np.array(sorted(left.values())[::2], np.int32)
    dead = _exclude(index, jnp.asarray(out))
    legal = legal_everywhere(index, dead)
    kept = np.array([i not in set(out.tolist()) for i in left.values()])
    for level, brute in enumerate(expected_legal(rows, sizes, kept)):
        np.testing.assert_array_equal(legal[level][: len(brute)], brute)


def test_items_that_come_and_go_change_no_shape_while_there_is_room():
    traces = []

    @jax.jit
    def search(index, codes):
        traces.append(1)
        return index.lookup(codes), index.legal(0, jnp.zeros((1,), jnp.int32))

    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 30, (500, 3)), axis=0)
    rng.shuffle(codes)
    index = ItemIndex.build(codes[:300], (30, 30, 30), room=0.3)
    search(index, index.item_codes)
    for start in (300, 320, 340):
        index = index.updated(codes[start : start + 20], remove=np.arange(start - 300, start - 290))
        items, _ = search(index, index.item_codes)
        live = np.flatnonzero(np.asarray(items) >= 0)
        assert len(live) == index.num_leaves()
        np.testing.assert_array_equal(items[live], live)
    assert len(traces) == 1


def test_updates_that_cannot_be_are_refused():
    index = ItemIndex.build(np.array([[0, 1], [2, 0]]), (3, 2))
    with pytest.raises(DataError, match="item 5 cannot be removed"):
        index.updated(remove=np.array([5]))
    with pytest.raises(DataError, match=r"items 1 and 2 share the ID \(2, 0\)"):
        index.updated(np.array([[2, 0]]))
    with pytest.raises(DataError, match="the last item"):
        index.updated(remove=np.array([0, 1]))
    with pytest.raises(DataError, match="item 0 has code 3"):
        index.updated(np.array([[3, 0]]))
    with pytest.raises(ConfigError, match="room must not be negative, got -1"):
        ItemIndex.build(np.array([[0, 1]]), (3, 2), room=-1)


@pytest.mark.parametrize("skew", [1.0, 3.0])
def test_the_trie_takes_few_bytes_an_item(skew):
    rng = np.random.default_rng(0)

    def trie_bytes(levels, size, items):
        flat = rng.random((2 * items, levels)) ** skew
        codes = np.unique((flat * size).astype(np.int64), axis=0)
        codes = rng.permutation(codes)[:items]
        return ItemIndex.build(codes, (size,) * levels).nbytes["trie"] / len(codes)

    assert trie_bytes(8, 2048, 100_000) <= 25
    assert trie_bytes(4, 256, 100_000) <= 6
