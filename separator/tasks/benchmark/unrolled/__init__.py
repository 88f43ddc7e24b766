"""Memory and time of learning through time, against the number of steps (Rathi et al. 2020, appendix B and Fig. 5)."""
