"""From a source to targets on three sides and the windows that end at them."""
