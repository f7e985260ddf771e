"""Records, the tree, value, stop rules, budgets, errors and protocols: pydantic only, no I/O."""
