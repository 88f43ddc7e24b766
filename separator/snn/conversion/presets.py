"""Settings of a conversion that go together, by name."""

from typing import Any

from separator.errors import UserError

# How layers are tuned one after the other, and how all of them are converted at once: fields that presets have in common.
TUNED: dict[str, Any] = {
    "neuron": "integrate-and-fire",
    "coding": "charge",
    "at_once": False,
    "calibration_batches": 8,
}
DIRECT: dict[str, Any] = {
    "initial_potential": 0.0,
    "schedule": "pipelined",
    "channelwise": False,
    "learn_thresholds": False,
    "mask_gradient": False,
    "statistics": "none",
    "anneal": False,
    "passes": 1,
    "percentile": 99.0,
    "coding": "constant",
    "readout": "counts",
    "at_once": True,
    "calibration_batches": 0,
}

# Fields of `ConversionSettings`, the same ones in each. Rates, epochs and patience are the task's.
PRESETS: dict[str, dict[str, Any]] = {
    # Wu et al. 2021: neurons start empty and pass spikes on at once, a threshold for each layer from a percentile.
    "published": {
        "initial_potential": 0.0,
        "schedule": "pipelined",
        "threshold": "percentile",
        "channelwise": False,
        "learn_thresholds": False,
        "mask_gradient": False,
        "statistics": "all",
        "anneal": False,
        "passes": 1,
        **TUNED,
    },
    # All that helps at few time steps: neurons round instead of flooring and wait until all of their input is in, each channel
    # has the threshold that fits its activations best, and learns it; all layers are tuned together in the end.
    "few-steps": {
        "initial_potential": 0.5,
        "schedule": "layer-by-layer",
        "threshold": "least-squares",
        "channelwise": True,
        "learn_thresholds": True,
        "mask_gradient": True,
        "statistics": "analog",
        "anneal": True,
        "passes": 2,
        **TUNED,
    },
    # Stöckl and Maass 2021, "Optimized spiking neurons can classify images with high accuracy through temporal coding with two
    # spikes per neuron", in the form of `separator.snn.neurons.few_spikes`: a spike counts for half of the one before it. All
    # layers at once, each channel with the threshold that fits its activations best.
    "few-spikes": DIRECT
    | {
        "neuron": "few-spikes",
        "coding": "charge",
        "readout": "potential",
        "initial_potential": 0.5,
        "schedule": "layer-by-layer",
        "threshold": "least-squares",
        "channelwise": True,
        "calibration_batches": 8,
    },
    # Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing", as the
    # paper below compares with it: ReLU, one threshold, its scale from the largest activation or weight.
    "datanorm": DIRECT | {"neuron": "integrate-and-fire", "threshold": "scaling-factor"},
    # Yu et al. 2020, of double thresholds and augmented spikes: two thresholds, and their scales likewise (Algorithm 1).
    "termapping": DIRECT | {"neuron": "double-threshold", "threshold": "scaling-factor"},
    # The same paper: spikes with coefficients, thresholds of 1 and -1 / slope, for which no data are needed.
    "augmapping": DIRECT | {"neuron": "augmented", "threshold": "unit", "calibration_batches": 1},
    # Rathi et al. 2020, "Enabling deep spiking neural networks with hybrid conversion and spike timing dependent
    # backpropagation": Poisson input, thresholds of the largest current at any step (Algorithm 1), the last layer's potential
    # read. Its neurons leak nothing until they learn through time: neuron_options {leak: 0.99}.
    "hybrid": DIRECT
    | {
        "neuron": "leaky",
        "coding": "poisson",
        "readout": "potential",
        "threshold": "balanced",
        "percentile": 100.0,
        "calibration_batches": 8,
    },
}


def preset(name: str, **changes: Any) -> dict[str, Any]:
    """Fields of `ConversionSettings` that the preset of this name sets, with changes.

    Raises:
        UserError: there is none.
    """
    if name not in PRESETS:
        raise UserError(f"there is no preset '{name}'; take one of {', '.join(PRESETS)}")
    return PRESETS[name] | changes
