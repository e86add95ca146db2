"""Training steps and whole trainings beside their peers."""
