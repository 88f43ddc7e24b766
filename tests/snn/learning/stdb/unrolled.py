"""The paper's equations step by step, all layers at each step, on torch's own automatic differentiation."""

import math

import torch
import torch.nn.functional as F


class Fire(torch.autograd.Function):
    """[u > V], with a given derivative with respect to u - V."""

    @staticmethod
    def forward(ctx, u, threshold, derivative, strict):
        ctx.save_for_backward(derivative, threshold)
        return (u > threshold if strict else u >= threshold).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        derivative, threshold = ctx.saved_tensors
        passed = gradient * derivative
        summed = -passed.sum_to_size((1,) * (passed.dim() - threshold.dim()) + tuple(threshold.shape)).view_as(threshold)
        return passed, summed, None, None


class Neurons:
    """One layer of leaky neurons, its state from step to step."""

    def __init__(self, threshold, leak, options, model, start):
        self.threshold, self.leak, self.options, self.model = threshold, leak, options, model
        self.u, self.fired, self.last = start, torch.zeros_like(start), torch.full(start.shape, -1000)

    def derivative(self, u, fires, t):
        o, u, threshold = self.options, u.detach(), self.threshold.detach()
        if o.derivative == "linear":
            h = o.alpha * (1 - (u - threshold).abs()).clamp(min=0)
        elif o.derivative == "exponential":
            h = o.alpha * torch.exp(-o.beta * (u - threshold).abs())
        else:
            last = torch.where(fires, t, self.last) if o.own_spike else self.last
            h = torch.zeros_like(u)
            for place in (last >= 0).nonzero().tolist():
                h[tuple(place)] = o.alpha * math.exp(-o.beta * (t - int(last[tuple(place)])))
        return h / threshold if o.over_threshold else h

    def fire(self, t):
        fires = self.u > self.threshold if self.model.strict else self.u >= self.threshold
        spikes = Fire.apply(self.u, self.threshold, self.derivative(self.u, fires, t), self.model.strict)
        self.last = torch.where(fires, t, self.last)
        return spikes

    def reset(self, spikes):
        return self.threshold * (spikes if self.options.through_reset else spikes.detach())

    def step(self, current, t):
        """Spikes handed on at a step."""
        before = self.fired
        self.u = self.leak * self.u + current - self.reset(before)
        self.fired = self.fire(t)
        return before if self.model.delayed else self.fired

    def detach(self):
        self.u, self.fired = self.u.detach(), self.fired.detach()


def run(neurons, synapses, inputs, ends):
    """Potentials of the readout at the end of each segment.

    Args:
        neurons: makes those of a layer when its first current is there.
        synapses: of each layer, from the spikes of all layers so far at this step to its current.
        inputs: what `synapses[0]` gets at each step.
        ends: of segments.
    """
    layers, total, readings = {}, 0.0, []
    for t, x in enumerate(inputs):
        if t in ends:
            total = total.detach()
            for layer in layers.values():
                layer.detach()
        handed = {-1: x}
        for i, apply in enumerate(synapses):
            current = apply(handed)
            if i == len(synapses) - 1:
                total = total + current
                continue
            if i not in layers:
                layers[i] = neurons(i, current)
            handed[i] = layers[i].step(current, t)
        if t + 1 in ends:
            readings.append(total)
    return readings


def pooled_convolution(weight, x, mask):
    return F.conv2d(F.avg_pool2d(x, 2) * mask, weight, padding=1)
