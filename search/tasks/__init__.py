"""One module a kind of task: its metrics, its scores and its naive baselines."""
