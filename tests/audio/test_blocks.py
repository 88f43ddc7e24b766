import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.blocks import in_blocks_of


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 20))
def test_blocks_have_the_length_asked_for_and_hold_the_stream(sizes, length):
    wave = np.arange(2 * sum(sizes), dtype=np.float32).reshape(2, -1)
    blocks = list(in_blocks_of(length, np.split(wave, np.cumsum(sizes)[:-1], -1) if sizes else []))
    assert [block.shape[-1] for block in blocks[:-1]] == [length] * max(0, len(blocks) - 1)
    assert all(0 < block.shape[-1] <= length for block in blocks)
    assert np.array_equal(np.concatenate([wave[:, :0], *blocks], -1), wave)


def test_a_stream_is_not_read_further_than_needed():
    def blocks():
        yield np.ones(5)
        raise AssertionError

    assert next(in_blocks_of(4, blocks())).shape == (4,)
