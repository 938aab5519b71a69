"""Values as text and in other types, exactly; and helpers for texts. Pure."""
