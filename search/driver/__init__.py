"""Decides what is tried and when it stops; the only room that talks to Optuna and MLflow."""
