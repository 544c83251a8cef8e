"""Search spaces: what may be built, as KerasTuner hypermodels."""
