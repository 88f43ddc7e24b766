"""Settings of a conversion that go together, by name."""

from typing import Any

from separator.errors import UserError

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
    },
}


def preset(name: str) -> dict[str, Any]:
    """Fields of `ConversionSettings` that the preset of this name sets.

    Raises:
        UserError: there is none.
    """
    if name not in PRESETS:
        raise UserError(f"there is no preset '{name}'; take one of {', '.join(PRESETS)}")
    return PRESETS[name]
