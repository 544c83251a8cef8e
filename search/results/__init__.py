"""What a person takes away from a study."""
