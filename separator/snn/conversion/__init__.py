"""From an analog stack to a spiking one: thresholds, settings, progressive tandem learning."""
