"""The solver on torch tensors, on the processor or a CUDA device.

`solve_batch` takes many dense problems of one size, `solve_shared` many that share their matrix, and
`layer_signs` binarises a layer by it; `solve_sparse` takes one sparse problem of up to 10^8 rows;
`solvers.low_rank(problem, device=...)` brings one problem here.
Nothing of it needs numba, CVXPY or SCS, but for the proofs about sparse costs, which are the processor's work.
"""

from solvers.torch_backend.common.run_state import BatchMoment
from solvers.torch_backend.dense.solution import BatchSolution
from solvers.torch_backend.dense.solve_batch import solve_batch
from solvers.torch_backend.shared.layer_signs import LayerSigns, layer_signs
from solvers.torch_backend.shared.solve_shared import SharedSolution, solve_shared
from solvers.torch_backend.solve_on_device import solve_on_device
from solvers.torch_backend.sparse.cost import SparseCost, sparse_cost
from solvers.torch_backend.sparse.graphs import cut_cost, edge_cost
from solvers.torch_backend.sparse.solve_sparse import solve_sparse

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
