"""Paillier encryption and the network of parties that uses it. Does not import JAX."""
