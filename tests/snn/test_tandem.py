import copy

import torch

from separator.snn.stack import fire
from separator.snn.tandem import TandemStage
from tests.snn.nets import conv1d_stack, converted


def tandem_of(start=0.5, window=8):
    x = torch.randn(4, 3, 11)
    spiking = converted(conv1d_stack(0), x, window, start)
    analog = conv1d_stack(0).stages[1]
    first, second = spiking.stages[0], spiking.stages[1]
    tandem = TandemStage(analog, "fire", first.threshold, second.threshold, start, window)
    return tandem, fire([first], x), second


def test_forward_is_the_spiking_layer():
    tandem, trains, spiking = tandem_of()
    assert torch.equal(tandem(trains).detach(), spiking.activation(spiking.trains(trains)))


def test_gradient_is_the_analog_twins():
    tandem, trains, _ = tandem_of()
    twin = copy.deepcopy(tandem.stage)
    seen = trains.sum(0) * spiking_unit(tandem)
    direction = torch.randn(4, 5, 11)
    (tandem(trains) * direction).sum().backward()
    (twin(seen) * direction).sum().backward()
    for ours, theirs in zip(tandem.stage.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
        assert theirs.grad.abs().sum() > 0


def spiking_unit(tandem):
    return tandem.unit.view(-1, 1)


def test_batch_statistics_do_not_move():
    tandem, trains, _ = tandem_of()
    before = copy.deepcopy(tandem.stage.norm.state_dict())
    tandem.train()
    tandem(trains)
    assert all(torch.equal(before[name], value) for name, value in tandem.stage.norm.state_dict().items())


def test_readout_is_the_membrane_potential():
    x = torch.randn(2, 3, 11)
    spiking = converted(conv1d_stack(0), x, 8, 0.5)
    analog = conv1d_stack(0).stages[-1]
    trains = fire(spiking.spiking_stages()[:-1], x)
    unit = spiking.stages[-2].threshold
    tandem = TandemStage(analog, "readout", unit, torch.ones(1), 0.5, 8)
    potential = sum(spiking.stages[-1].current(spikes) for spikes in trains)
    assert torch.allclose(tandem(trains), potential, atol=1e-4)
