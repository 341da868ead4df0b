"""Fission-GRPO: train small tool-calling language models to recover from their own failed calls."""

__version__ = "0.1.0"
