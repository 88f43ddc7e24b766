from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.models.window_norm import SQUARE_STEP, SUM_STEP, WindowNorm, WindowNormStream, moments


def norm_of(features=12, before=3, after=2):
    torch.manual_seed(0)
    norm = WindowNorm(features, before, after)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    return norm.eval().requires_grad_(False)


def features_of(frames, features=12, batch=2, seed=0):
    """Rectified, of levels that differ a thousandfold from frame to frame."""
    generator = torch.Generator().manual_seed(seed)
    levels = 10 ** torch.empty(batch, frames, 1).uniform_(-3, 0, generator=generator)
    return (torch.randn(batch, frames, features, generator=generator) * levels).relu()


@pytest.mark.parametrize("exact", [False, True])
def test_it_is_mean_and_variance_of_the_frames_around(exact):
    norm, x = norm_of(), features_of(20)
    expected = np.empty(x.shape)
    for k in range(20):
        seen = x[:, max(0, k - 3) : k + 3].flatten(1).double()  # 3 before, 2 after, none outside
        mean, deviation = seen.mean(1, keepdim=True), (seen.var(1, correction=0, keepdim=True) + 1e-8).sqrt()
        expected[:, k] = (x[:, k].double() - mean) / deviation * norm.weight.double() + norm.bias.double()
    torch.testing.assert_close(norm(x, exact=exact).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_a_window_of_everything_is_layer_norm_over_all_of_it():
    norm, x = norm_of(before=30, after=30), features_of(20)
    theirs = torch.nn.functional.layer_norm(x, x.shape[1:], eps=1e-8) * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), theirs, rtol=1e-4, atol=1e-4)
    assert torch.allclose(norm(x, exact=True), theirs, rtol=1e-4, atol=1e-4)


def test_moments_are_the_nearest_whole_steps():
    """In rational numbers; each feature is 20 bits of the largest of its frame."""
    x = features_of(6, batch=1, seed=3)
    for frame, (total, high, low) in zip(x[0], moments(x)[0].tolist(), strict=True):
        above = 2.0 ** int(np.ceil(np.log2(float(frame.max()))))
        step = Fraction(above) / 2**20
        whole = [round(Fraction(float(value)) / step) for value in frame]
        assert total == round(sum(whole) * step / Fraction(SUM_STEP))
        squares = sum(number * number for number in whole) * step * step / Fraction(SQUARE_STEP)
        assert high * 2**45 + low == round(squares)


@given(st.integers(1, 40), st.lists(st.integers(0, 9), max_size=8), st.integers(0, 6), st.integers(0, 6), st.integers(0, 99))
def test_pieces_of_any_size_give_the_same_bits(frames, sizes, before, after, seed):
    norm, x = norm_of(before=before, after=after), features_of(frames, seed=seed)
    stream, given, taken = WindowNormStream(norm), [], 0
    for size in sizes:
        given.append(stream.push(x[:, taken : taken + size]))
        taken = min(frames, taken + size)
        ready = sum(piece.shape[1] for piece in given)
        assert ready == max(0, taken - after)
    given.append(stream.push(x[:, taken:], last=True))
    assert torch.equal(torch.cat(given, 1), norm(x, exact=True))


@pytest.mark.parametrize("level", [1e-7, 1e-4, 1.0, 1e5])
def test_loud_and_soft_sounds_are_normalised_alike(level):
    """Down to where epsilon is heard, and far above full scale."""
    norm, x = norm_of(), features_of(30).clamp_min(0.01)
    changed = norm(x * level, exact=True)
    expected = WindowNorm.forward(norm, x * level)
    torch.testing.assert_close(changed, expected, rtol=2e-3, atol=2e-3)


def test_compiled_loops_give_the_same_bits(monkeypatch):
    from separator.models import kernels, window_norm

    norm, x = norm_of(64, 20, 10), features_of(300, 64).double()  # as the encoder has them
    before = x.clone()
    monkeypatch.setattr(window_norm, "compiled_for", lambda _: None)
    plain = moments(x), norm(x, exact=True)
    assert torch.equal(x, before)  # they are masked afterwards
    monkeypatch.setattr(window_norm, "compiled_for", lambda _: kernels)
    assert torch.equal(moments(x), plain[0])
    assert torch.equal(norm(x, exact=True), plain[1])
    assert torch.equal(x, before)


def test_silence_is_zero_but_for_the_bias():
    norm = norm_of()
    assert torch.equal(norm(torch.zeros(1, 5, 12), exact=True), norm.bias.expand(1, 5, 12))


def test_too_long_windows_are_refused():
    with pytest.raises(ValueError, match="at most 4096 frames together, not 5001"):
        WindowNorm(8, 2500, 2500)
