"""Fast executions of spiking layers, equal to the slow ones to the bit."""
