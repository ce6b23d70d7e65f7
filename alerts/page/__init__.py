"""The staff page: current room states, incidents, responses and feedback."""
