"""Pictures from gradients: networks, what is observed of a gradient, and attacks on it."""
