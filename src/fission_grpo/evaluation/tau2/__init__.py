"""TAU2-Bench as a source of episodes: its own simulator and evaluator, in an environment of their own."""
