"""What adversaries learn: views, attacks, and what comes of them."""
