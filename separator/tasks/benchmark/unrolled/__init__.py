"""Memory and time of learning through time and of inference, against the number of steps; whole trainings from them.

That is what appendix B and Fig. 5 of Rathi et al. 2020 compare, of VGG16 on a GPU: training and inference of an analog
network, of a spiking one trained from scratch, and of one trained by the hybrid technique.
"""
