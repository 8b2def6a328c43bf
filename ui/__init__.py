"""What a person touches: the command line, the app and the demo."""
