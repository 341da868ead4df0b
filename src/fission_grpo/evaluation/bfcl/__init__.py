"""BFCL v4: its multi-turn entries, played by the official loop and judged by its own package."""
