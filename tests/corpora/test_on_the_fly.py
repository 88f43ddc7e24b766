import pytest
import torch

from separator.corpora.bank import load_bank
from separator.corpora.on_the_fly import MixturesOnTheFly
from separator.errors import UserError


@pytest.fixture(scope="module")
def bank(synthetic_corpus):
    return load_bank(synthetic_corpus / "train", 8000)


def test_mixtures_depend_on_seed_epoch_and_index_only(bank):
    first = MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=2)
    again = MixturesOnTheFly(bank, 9, 8000, seed=1, epoch=2)
    assert all(torch.equal(first[i], again[i]) for i in range(4))
    for other in (MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=3), MixturesOnTheFly(bank, 4, 8000, seed=2, epoch=2)):
        assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("n_src", [2, 3])
def test_talkers_differ_and_stand_0_to_5_db_apart(bank, n_src):
    ratios = []
    for sources in MixturesOnTheFly(bank, 60, 16000, n_src):
        assert sources.shape == (n_src, 16000)
        ratios.append(10 * torch.log10(sources[0].square().mean() / sources[1].square().mean()))
        assert torch.corrcoef(sources).fill_diagonal_(0).abs().max() < 0.9
    assert -1.5 < torch.stack(ratios).median() < 6.5  # levels of segments vary around the utterances'
    assert torch.stack(ratios).mean() == pytest.approx(2.5, abs=1.5)


def test_iteration_ends(bank):
    assert len(list(MixturesOnTheFly(bank, 3, 800))) == 3


def test_more_talkers_than_speakers(bank):
    with pytest.raises(UserError, match="as many speakers"):
        MixturesOnTheFly(bank, 1, 800, n_src=1000)
