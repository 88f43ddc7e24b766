import torch

from separator.chance import seed_at


def drawn(*place):
    seed_at(*place)
    return torch.rand(4).tolist()


def test_numbers_depend_on_seed_and_place_and_on_nothing_before():
    first = drawn(7, 3, 5)
    torch.rand(100)
    assert drawn(7, 3, 5) == first
    others = [drawn(*place) for place in ((8, 3, 5), (7, 5, 3), (7, 3, 6), (7, 4, 5), (2**64 - 1, 3, 5))]
    assert len({tuple(numbers) for numbers in [first, *others]}) == 6
