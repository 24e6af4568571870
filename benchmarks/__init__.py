"""What writes the tables of the documentation, and what verifies every model on every board."""
