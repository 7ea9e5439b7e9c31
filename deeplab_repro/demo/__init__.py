"""The main job on the bundled model, and its page."""
