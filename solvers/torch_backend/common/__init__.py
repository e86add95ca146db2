"""What every solver on tensors needs."""
