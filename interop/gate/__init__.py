"""What may change and what may not: a policy, the decision on each cell, and what CI shows of it."""
