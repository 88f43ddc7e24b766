"""Learning of any problem: training, conversion to spikes, sweeps over conversions."""
