"""The user's side: the command line, the app and the demo."""
