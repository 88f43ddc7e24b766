"""Spike-timing-dependent backpropagation (Rathi et al. 2020): neurons over time, and back from their spike bits alone.

N. Rathi, G. Srinivasan, P. Panda, K. Roy, "Enabling deep spiking neural networks with hybrid conversion and spike timing
dependent backpropagation", ICLR 2020.
"""
