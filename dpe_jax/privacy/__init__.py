"""What adversaries learn: views of a run, and attacks on what they see."""
