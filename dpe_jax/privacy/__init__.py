"""The privacy audit: what each adversary learns, measured on actual trajectories."""
