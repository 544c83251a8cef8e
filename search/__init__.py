"""Lookback: the best CNN-LSTM for your sequences.

What a person needs from Python stands here; each name loads its module when it is first used, so
that a worker never loads the driver and ``--help`` answers at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
