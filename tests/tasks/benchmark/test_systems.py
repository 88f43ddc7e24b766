import pytest

from separator.errors import UserError
from separator.tasks.benchmark.systems import parse_system


def test_names_of_systems():
    assert parse_system("dense:a@b/c.safetensors@16") == ("dense", "a@b/c.safetensors", 16)
    assert parse_system("small-ann") == ("", "small-ann", None)
    with pytest.raises(UserError, match="nothing runs a network as 'abacus'; take bf16"):
        parse_system("abacus:small-snn")
