"""Training methods, one file each: the maths as pure functions, the options, and the parametrization."""
