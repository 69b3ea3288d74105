"""What `lmkit ablate` is made of: the grid, equal budgets, the folder, the runs, their results, and what they say."""
