"""The solver on torch tensors: batches of dense problems on the processor or a CUDA device."""

from solvers.tensors.batch import solve_batch
from solvers.tensors.batch_run import BatchMoment
from solvers.tensors.batch_solution import BatchSolution

__all__ = ["BatchMoment", "BatchSolution", "solve_batch"]
