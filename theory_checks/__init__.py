"""Every claim of the theory, executable: what it says, what was measured, its bound, the verdict.

Each check takes the library's own public functions as its subject and compares them with enumeration, closed
forms, quadrature or planted optima, so that breaking a function makes its claim fail.

Examples
--------
>>> from theory_checks.runner import run
>>> report = run(["R1"], seed=0)
>>> report.passed
True
"""
