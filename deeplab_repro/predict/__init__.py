"""From a name and a photograph to labels."""
