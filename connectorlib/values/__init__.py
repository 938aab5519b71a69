"""Values as text and in other types: exactly, or not at all. Pure."""
