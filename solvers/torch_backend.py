"""The solver on torch tensors, on the processor or a CUDA device.

`solve_batch` takes many dense problems of one size, `solve_shared` many that share their matrix, and
`layer_signs` binarises a layer by it; `solve_sparse` takes one sparse problem of up to 10^8 rows;
`solvers.low_rank(problem, device=...)` brings one problem here.
Nothing of it needs numba, CVXPY or SCS, but for the proofs about sparse costs, which are the processor's work.
"""

from solvers.tensors.batch import solve_batch
from solvers.tensors.batch_limits import BatchMoment
from solvers.tensors.batch_solution import BatchSolution
from solvers.tensors.layer import LayerSigns, layer_signs
from solvers.tensors.shared import SharedSolution, solve_shared
from solvers.tensors.single import solve_on_device
from solvers.tensors.sparse import solve_sparse
from solvers.tensors.sparse_cost import SparseCost, cut_cost, edge_cost, sparse_cost

__all__ = [
    "BatchMoment",
    "BatchSolution",
    "LayerSigns",
    "SharedSolution",
    "SparseCost",
    "cut_cost",
    "edge_cost",
    "layer_signs",
    "solve_batch",
    "solve_on_device",
    "solve_shared",
    "solve_sparse",
    "sparse_cost",
]
