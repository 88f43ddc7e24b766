"""Spike trains: what a layer hands on."""
