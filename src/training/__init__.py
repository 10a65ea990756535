"""How a network is trained: optimisers, schedules, durations, the plan, threads."""
