"""The parts of an objective: two losses, a choice of boxes, and a divisor."""
