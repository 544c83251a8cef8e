"""Builds and trains one candidate at a time; knows nothing of Optuna or MLflow."""
