"""Measuring recovery: the multi-turn harness, the decomposition into one-shot and recovered, agents without a model."""
