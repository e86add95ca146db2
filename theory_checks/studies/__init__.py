"""Experiments whose outcome is a table and a plot rather than a verdict.

    python -m theory_checks.studies.estimators --output DIR
    python -m theory_checks.studies.relaxation --output DIR
    python -m theory_checks.studies.cuts --output DIR

Each writes JSON, Markdown and a PNG, with the seed, the date and the versions behind them.
"""
