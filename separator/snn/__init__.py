"""Spiking networks: neurons, conversion, progressive tandem learning. Knows nothing of speech.

What is listed in `__all__` can be imported from here; it is looked up when it is first asked for, so nothing else is loaded.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "AnalogLayer": "layers.analog",
    "CODINGS": "coding.registry",
    "ConversionSettings": "conversion.settings",
    "Dynamics": "layers.dynamics",
    "EXECUTIONS": "execution.executions",
    "EXPORTERS": "export.exporters",
    "HardwareProfile": "conversion.hardware",
    "NEURONS": "neurons.registry",
    "Neuron": "neurons.neuron",
    "ProgressiveTandemLearning": "conversion.progressive",
    "READOUTS": "coding.readouts",
    "RULES": "learning.rules",
    "Spikes": "spikes.trains",
    "SpikingLayer": "layers.spiking",
    "Stack": "stack.stack",
    "THRESHOLDS": "thresholds.rules",
    "layers_of": "layers.analog",
    "load_stack": "stack.saved",
    "preset": "conversion.presets",
    "record_activity": "observe.activity",
    "register_absorbed": "synapses.absorb",
    "save_stack": "stack.saved",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
