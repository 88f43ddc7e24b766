import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.corpora.mixing import mix, mixture_id, print_gain, resample_source
from separator.errors import UserError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("gain", "text"),
    [  # as MATLAB's num2str prints them; most stand in published lists
        (1.9857, "1.9857"),
        (-0.76421, "-0.76421"),
        (0.079969, "0.079969"),
        (5.2094e-07, "5.2094e-07"),
        (-4.6942e-05, "-4.6942e-05"),
        (2, "2"),
        (-1.0, "-1"),
        (0.0, "0"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (0.123456789, "0.12346"),
        (12.345678, "12.3457"),
        (1.99999999, "2"),
    ],
)
def test_gains_are_printed_as_by_matlab(gain, text):
    assert print_gain(gain) == text


def test_names_are_those_of_the_published_set():
    paths = ("wsj0/si_tr_s/01t/01to030v.wav", "wsj0/si_tr_s/20g/20ga010m.wav")
    assert mixture_id(paths, (0.76421, -0.76421)) == "01to030v_0.76421_20ga010m_-0.76421"


@given(
    st.lists(st.integers(5, 50), min_size=2, max_size=3),
    st.sampled_from(["min", "max"]),
    st.floats(1e-5, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_the_protocol_step_by_step(lengths, mode, level, seed):
    rng = np.random.default_rng(seed)
    waves = [rng.standard_normal(length) for length in lengths]
    levels = [level * (i + 1) for i in range(len(waves))]
    gains = [1.5, -1.5, 0.0][: len(waves)]
    mixture, sources = mix(waves, levels, gains, mode)
    length = min(lengths) if mode == "min" else max(lengths)
    expected = np.zeros((len(waves), length))
    for row, wave, power, gain in zip(expected, waves, levels, gains, strict=True):
        kept = wave[:length]
        row[: len(kept)] = kept / power**0.5 * 10 ** (gain / 20)
    peak = max(1, np.abs(expected).max(), np.abs(expected.sum(0)).max())
    np.testing.assert_allclose(sources, expected / peak * 0.9, rtol=1e-12)
    np.testing.assert_allclose(mixture, sources.sum(0), atol=1e-12)
    assert max(np.abs(mixture).max(), np.abs(sources).max()) <= 0.9 + 1e-12


def test_quiet_mixtures_are_not_raised():
    mixture, sources = mix([np.full(4, 0.1), np.full(4, 0.2)], [1, 1], [0, 0], "min")
    np.testing.assert_allclose(mixture, 0.9 * 0.3)
    np.testing.assert_allclose(sources[:, 0], [0.09, 0.18])


def test_resampling_keeps_what_both_rates_can_hold_and_drops_the_rest():
    time = np.arange(16000) / 16000
    kept, dropped = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 6000 * time)
    halved = resample_source(kept + dropped, 16000, 8000)
    np.testing.assert_allclose(halved[100:-100], kept[::2][100:-100], atol=2e-3)
    assert len(resample_source(np.zeros(1001), 16000, 8000)) == 501


def test_the_own_rate_changes_nothing_and_a_higher_one_is_refused():
    wave = RNG.standard_normal(10)
    np.testing.assert_array_equal(resample_source(wave, 8000, 8000), wave)
    with pytest.raises(UserError, match="8000 Hz cannot make mixtures of 16000 Hz"):
        resample_source(wave, 8000, 16000)
