"""Lookback: how the best CNN-LSTM is searched."""
