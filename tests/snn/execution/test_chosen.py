import pytest
import torch

from separator.snn.execution import executions
from separator.snn.execution.chosen import chosen_execution, execution
from separator.snn.registry import Registry
from separator.snn.stack.stack import outcomes
from tests.snn.nets import conv1d_stack, converted


def refuse(*_):
    raise AssertionError("not to be used")


refuse.carries = True


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_dense_execution_does_without_kernel_and_8_bit_products(schedule, monkeypatch):
    x = torch.randn(3, 3, 11)
    stack = converted(conv1d_stack(), x, 8, 0.5, schedule=schedule, weight_bits=8)
    expected = outcomes(stack, x)
    stack.cpu()  # which forgets how layers were laid out
    monkeypatch.setattr(executions, "EXECUTIONS", Registry("execution", {"event-driven": lambda population: refuse}))
    for layer in stack.spiking_layers()[1:]:
        assert layer.weight.dtype == torch.int8
        for product in layer.sums._products or ():  # not every machine adds them exactly
            monkeypatch.setattr(product, "seen", refuse)
    with execution("dense"):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(outcomes(stack, x), expected, strict=True))
    if schedule == "pipelined" or layer.sums._products is not None:
        with pytest.raises(AssertionError, match="not to be used"):
            outcomes(stack, x)


def test_choice_ends_with_its_block():
    assert chosen_execution() == "fastest"
    with pytest.raises(KeyError), execution("dense"):
        with execution("fastest"):
            assert chosen_execution() == "fastest"
        assert chosen_execution() == "dense"
        raise KeyError
    assert chosen_execution() == "fastest"
