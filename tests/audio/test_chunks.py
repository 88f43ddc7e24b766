import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.chunks import best_order, cut_chunks, overlap_add, triangle

lengths = st.integers(1, 300)


@st.composite
def segments(draw, smallest_overlap=0):
    segment = draw(st.integers(smallest_overlap + 1, 80))
    return segment, draw(st.integers(smallest_overlap, segment - 1))


def blocks_of(wave, seed):
    """The wave in pieces of random length."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, wave.shape[-1] + 1, 4))
    return np.split(wave, cuts, axis=-1)


def bounds(length, segment, overlap):
    """What the docstring of cut_chunks says, written down for a known length."""
    starts = list(range(0, max(length - segment, 0) + 1, segment - overlap))
    if starts[-1] + segment < length:
        starts.append(length - segment)
    return [(start, min(start + segment, length)) for start in starts]


@given(lengths, segments(), st.integers(0, 99))
def test_chunks_of_a_stream_lie_where_those_of_the_whole_do(length, size, seed):
    wave = np.arange(2 * length, dtype=np.float32).reshape(2, length)
    found = list(cut_chunks(blocks_of(wave, seed), *size))
    expected = bounds(length, *size)
    assert [(start, start + chunk.shape[-1]) for start, chunk in found] == expected
    for (_, chunk), (start, stop) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(chunk, wave[:, start:stop])


@pytest.mark.parametrize(("segment", "overlap"), [(0, 0), (4, 4), (4, -1), (4, 9)])
def test_impossible_chunks_are_refused(segment, overlap):
    with pytest.raises(ValueError, match="overlap must be"):
        next(cut_chunks([np.ones((1, 9), np.float32)], segment, overlap))


def test_an_empty_stream_has_no_chunks():
    assert list(overlap_add(lambda chunk: chunk, [], 4, 1)) == []
    assert list(overlap_add(lambda chunk: chunk, [np.zeros((1, 0), np.float32)], 4, 1)) == []


@given(lengths, segments(smallest_overlap=1), st.integers(0, 10_000))
def test_talkers_keep_their_places_whatever_order_the_network_gives(length, size, seed):
    generator = np.random.default_rng(seed)
    wave = generator.uniform(0.1, 1, (3, length)).astype(np.float32) * generator.choice([-1, 1], (3, length))
    wave = wave.astype(np.float32)
    shares = np.array([0.2, 0.3, 0.5], np.float32)[:, None]
    first = None

    def separate(chunk):
        nonlocal first
        orders = [generator.permutation(3) for _ in chunk]
        first = orders if first is None else first
        return np.stack([(item * shares)[order] for item, order in zip(chunk, orders, strict=True)])

    pieces = list(overlap_add(separate, blocks_of(wave, seed), *size))
    np.testing.assert_array_equal(np.concatenate([mixture for mixture, _ in pieces], axis=-1), wave)
    joined = np.concatenate([estimates for _, estimates in pieces], axis=-1)
    expected = np.stack([(item * shares)[order] for item, order in zip(wave, first, strict=True)])
    np.testing.assert_allclose(joined, expected, rtol=2e-6, atol=1e-7)


def test_without_overlap_the_networks_order_stays():
    wave = np.ones((1, 8), np.float32)
    flips = iter([[0, 1], [1, 0]])
    pieces = list(overlap_add(lambda chunk: np.stack([[1 * chunk[0], 2 * chunk[0]]])[:, next(flips)], [wave], 4, 0))
    np.testing.assert_allclose(np.concatenate([estimates for _, estimates in pieces], axis=-1)[0, 0], [1] * 4 + [2] * 4)


def test_overlap_fades_from_one_chunk_into_the_next():
    estimates = iter([np.zeros((1, 1, 8), np.float32), np.ones((1, 1, 8), np.float32)])
    wave = np.zeros((1, 12), np.float32)
    joined = np.concatenate([s for _, s in overlap_add(lambda chunk: next(estimates), [wave], 8, 4)], axis=-1)[0, 0]
    np.testing.assert_allclose(joined, [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1], rtol=1e-6)


@given(st.integers(1, 200))
def test_triangle_is_positive_symmetric_and_peaks_at_one(length):
    window = triangle(length)
    assert window.shape == (length,) and window.dtype == np.float32
    assert window.min() > 0 and window.max() == 1
    np.testing.assert_array_equal(window, window[::-1])


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000))
def test_order_is_the_best_of_all_orders(n_src, length, seed):
    generator = np.random.default_rng(seed)
    reference, estimates = generator.standard_normal((2, n_src, length)).astype(np.float32)

    def distance(order):
        return float(((reference - estimates[list(order)]).astype(np.float64) ** 2).sum())

    best = min(map(distance, permutations(range(n_src))))
    assert distance(best_order(reference, estimates)) == pytest.approx(best, rel=1e-5)


def test_order_is_not_greedy():
    # The largest product (row 0, column 0) belongs to the worse of the two orders.
    reference, estimates = np.eye(2, dtype=np.float32), np.array([[3, 2.9], [2.9, 0]], np.float32)
    assert best_order(reference, estimates).tolist() == [1, 0]


def test_silence_keeps_the_order():
    silence = np.zeros((3, 5), np.float32)
    assert best_order(silence, silence).tolist() == [0, 1, 2]


def test_memory_does_not_grow_with_the_stream():
    def peak(n_blocks):
        stream = (np.ones((1, 10_000), np.float32) for _ in range(n_blocks))
        tracemalloc.start()
        samples = sum(s.shape[-1] for _, s in overlap_add(lambda c: np.stack([c, -c], axis=1), stream, 20_000, 5_000))
        _, largest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert samples == 10_000 * n_blocks
        return largest

    assert peak(300) < 1.5 * peak(10) < 5e6
