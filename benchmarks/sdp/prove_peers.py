"""Solvers that pip installs, on the linearised model of a MaxCut graph: value, bound, nodes and processor seconds.

    pip install pyscipopt highspy ortools
    python -m benchmarks.sdp.prove_peers SOLVER FILE [--seconds 15] [--wall 90]

SOLVER is scip, highs or cp-sat; FILE is a graph in rudy format with whole weights.  One binary variable a vertex,
one variable an edge that says whether it is cut, two inequalities an edge.  SCIP counts processor seconds, others
stop after ``--wall`` seconds of the clock.  Nothing else of this package is needed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path


def read(path: Path) -> tuple[int, list[tuple[int, int, int]]]:
    rows = [line.split() for line in path.read_text().splitlines() if line.split()]
    return int(rows[0][0]), [(int(i) - 1, int(j) - 1, int(float(w))) for i, j, w in rows[1:]]


def limits(x, edge, cut):
    """The two inequalities that bound an edge's variable from the side that its weight pulls to."""
    i, j, weight = edge
    if weight > 0:
        return cut <= x[i] + x[j], cut <= 2 - x[i] - x[j]
    return cut >= x[i] - x[j], cut >= x[j] - x[i]


def scip(n, edges, options):
    from pyscipopt import Model, quicksum

    model = Model()
    model.hideOutput()
    x = [model.addVar(vtype="B") for _ in range(n)]
    cuts = [model.addVar(vtype="C", lb=0, ub=1) for _ in edges]
    for edge, cut in zip(edges, cuts, strict=True):
        for inequality in limits(x, edge, cut):
            model.addCons(inequality)
    objective = quicksum(weight * cut for (_, _, weight), cut in zip(edges, cuts, strict=True))
    model.setObjective(objective, "maximize")
    model.setParam("timing/clocktype", 1)
    model.setParam("limits/time", options.seconds)
    model.optimize()
    return model.getStatus(), model.getObjVal(), model.getDualbound(), model.getNNodes()


def highs(n, edges, options):
    import highspy

    model = highspy.Highs()
    model.silent()
    x = [model.addBinary() for _ in range(n)]
    cuts = [model.addVariable(0, 1) for _ in edges]
    for edge, cut in zip(edges, cuts, strict=True):
        for inequality in limits(x, edge, cut):
            model.addConstr(inequality)
    model.setOptionValue("time_limit", options.wall)
    model.setOptionValue("threads", 1)
    model.maximize(sum(weight * cut for (_, _, weight), cut in zip(edges, cuts, strict=True)))
    found = model.getInfo()
    status = model.modelStatusToString(model.getModelStatus())
    return status, found.objective_function_value, found.mip_dual_bound, found.mip_node_count


def cp_sat(n, edges, options):
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in range(n)]
    cuts = [model.new_bool_var("") for _ in edges]
    for edge, cut in zip(edges, cuts, strict=True):
        for inequality in limits(x, edge, cut):
            model.add(inequality)
    model.maximize(sum(weight * cut for (_, _, weight), cut in zip(edges, cuts, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = options.wall
    status = solver.status_name(solver.solve(model))
    return status, solver.objective_value, solver.best_objective_bound, solver.num_branches


SOLVERS = {"scip": scip, "highs": highs, "cp-sat": cp_sat}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("solver", choices=sorted(SOLVERS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--wall", type=float, default=90.0)
    options = parser.parse_args()
    clock = time.process_time()
    status, value, bound, nodes = SOLVERS[options.solver](*read(options.file), options)
    spent = time.process_time() - clock
    print(f"| {options.solver} | {status} | {value:g} | {bound:g} | {nodes} | {spent:.1f} |")


if __name__ == "__main__":
    main()
