"""What the engine costs beside what a user would choose instead, and beside the floor."""
