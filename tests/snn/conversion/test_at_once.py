"""All layers at once: thresholds by Algorithm 1 of the double-threshold paper, by hand, from all batches."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.conversion.presets import preset
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import layers_of
from separator.snn.layers.fan_in import fan_in, strongest
from separator.snn.stack import reference
from separator.snn.stack.stack import Stack


def network():
    torch.manual_seed(1)
    leaky = nn.LeakyReLU(0.2)
    modules = [nn.Linear(6, 16, bias=False), leaky, nn.Linear(16, 12, bias=False), leaky, nn.Linear(12, 3, bias=False)]
    return nn.Sequential(Stack(layers_of(modules), "potential")).eval()


def batches():
    return [torch.rand(10, 6, generator=torch.Generator().manual_seed(seed)) * (seed + 1) for seed in range(4)]


def loss(net, batch):
    return net(batch).square().mean()


def converted(name, folder=None, net=None, **changes):
    net = network() if net is None else net
    settings = ConversionSettings(**{**preset(name), "window": 48, **changes})
    run = ProgressiveTandemLearning(
        net, net[0], [], loss, lambda layer: batches(), batches()[:1], settings, folder=folder, log=lambda line: None
    )
    return net[0], run.run()


def test_scaling_factors_are_those_of_algorithm_1():
    stack, reports = converted("termapping")
    layers, x = list(network()[0].layers), torch.cat(batches())
    pre_factor = 1.0
    for layer, own in zip(layers, stack.layers, strict=True):
        x = layer(x).detach()
        post_factor = max(float(layer.affine.weight.detach().abs().max()), float(x.abs().max()))
        published = post_factor / pre_factor  # lambda, of weights that keep their scale and inputs of pre_factor a spike
        mine = own.threshold[0] * own.quantum[0] * 48  # of weights that take it in
        assert float(mine) == pytest.approx(published * pre_factor, rel=1e-3)
        pre_factor = post_factor
    assert [report.role for report in reports] == ["encode", "fire", "fire"]
    assert reports[0].loss_before == pytest.approx(float(loss(network(), batches()[0])), rel=1e-6)
    assert reports[0].loss_tuned == pytest.approx(reports[0].loss_before, rel=0.5)


def test_fewer_batches_may_be_looked_at():
    wide, narrow = (converted("termapping", calibration_batches=n)[0].layers[0].scale[0] for n in (0, 1))
    assert wide > narrow * 2


def test_augmapping_needs_no_data():
    stack, _ = converted("augmapping")
    for layer, ratio in zip(stack.layers, (5, 5, 1), strict=True):
        assert torch.allclose(layer.scale, torch.full_like(layer.scale, 1 / 48), rtol=1e-5)
        assert torch.equal(layer.negative_threshold, ratio * layer.threshold)


def test_augmapping_with_smaller_thresholds_is_the_same_as_of_a_larger_input():
    stack, _ = converted("augmapping", threshold_scale=0.25)
    for layer in stack.layers:
        assert torch.allclose(layer.scale, torch.full_like(layer.scale, 0.25 / 48), rtol=1e-5)
    usual, _ = converted("augmapping")
    x = batches()[0]
    with torch.no_grad():
        fine, coarse = stack(x), usual(4 * x) / 4
    torch.testing.assert_close(fine, coarse, rtol=0, atol=0.01)


def test_coefficients_up_to_a_boundary_leave_the_threshold_as_it_is():
    stack, _ = converted("augmapping", neuron_options={"boundary": 5})
    assert Fraction(float(stack.layers[0].scale[0])) == pytest.approx(1 / 48, rel=1e-5)


def test_a_conversion_at_once_is_not_done_twice(tmp_path):
    stack, reports = converted("augmapping", tmp_path)
    again, found = converted("augmapping", tmp_path)
    assert found == reports
    assert all(torch.equal(a, b) for a, b in zip(stack.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(UserError, match="window was 48 and is 40"):
        converted("augmapping", tmp_path, window=40)


def test_short_runs_tell_polarities():
    _, reports = converted("augmapping", window=16)
    assert 0 < reports[0].agreement["negative"] < 1 and reports[1].agreement["correlation"] > 0.9
    _, published = converted("termapping", window=16)
    assert published[0].agreement["largest"] <= 1 < reports[0].agreement["largest"] + 1


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
def test_the_report_counts_spikes_of_both_polarities(neuron):
    """Spike by spike, of what the definition fires on the first batch."""
    options = {} if neuron == "double-threshold" else {"boundary": 2}
    changes = {"neuron": neuron, "neuron_options": options, "threshold": "percentile", "percentile": 10.0}
    stack, reports = converted("termapping", window=6, **changes)
    trains = reference.trains(stack.spiking_layers(), batches()[0])
    most = 6 * options.get("boundary", 1)
    saturated = 0.0
    for train, report in zip(trains, reports, strict=True):
        fired, told = train[train != 0], report.agreement
        assert told["rate"] == pytest.approx(len(fired) / train.size)
        assert told["negative"] == pytest.approx((fired < 0).mean()) and told["negative"] > 0
        assert told["coefficient"] == pytest.approx(abs(fired).mean())
        assert told["highest"] == abs(fired).max()
        sums = train.sum(0)
        assert told["below"] == pytest.approx((sums == -most).mean())
        assert told["saturated"] == pytest.approx((abs(sums) == most).mean())
        saturated += told["saturated"]
    assert saturated > 0 and any(report.agreement["below"] > 0 for report in reports)


def test_fan_in_is_limited_in_every_layer():
    """As if the network had been one of the strongest connections alone, but for the loss before."""
    stack, reports = converted("termapping", fan_in=4)
    assert [fan_in(layer.weight) for layer in stack.layers] == [4, 4, 4]
    cut = network()
    for layer in cut[0].layers:
        layer.affine.weight.data *= strongest(layer.affine.weight, 4)
    expected, others = converted("termapping", net=cut)
    assert all(torch.equal(value, stack.state_dict()[name]) for name, value in expected.state_dict().items())
    assert [report.agreement for report in reports] == [report.agreement for report in others]
    assert reports[0].loss_before == converted("termapping")[1][0].loss_before != others[0].loss_before


def test_longer_runs_are_not_tuned():
    with pytest.raises(UserError, match="to convert without tuning, set at_once"):
        converted("termapping", at_once=False, calibration_batches=1)
