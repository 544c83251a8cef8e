"""Executors start workers, carry messages and say when a worker has died."""
