"""Methods that improve a factor: sweeps, conjugate gradients, trust regions."""
