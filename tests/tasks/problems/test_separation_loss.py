import pytest
import torch

from separator.tasks.problems.separation_loss import mixture_and_sources


@pytest.mark.parametrize("n_src", [2, 3])
def test_a_row_beyond_the_talkers_is_heard_but_not_to_be_found(n_src):
    sources, noise = torch.randn(4, n_src, 50), torch.randn(4, 1, 50)
    mixture, found = mixture_and_sources(torch.cat([sources, noise], 1), n_src)
    assert torch.equal(found, sources)
    assert torch.allclose(mixture, sources.sum(1) + noise[:, 0], atol=1e-6)
    mixture, found = mixture_and_sources(sources, n_src)
    assert torch.equal(found, sources) and torch.equal(mixture, sources.sum(1))
