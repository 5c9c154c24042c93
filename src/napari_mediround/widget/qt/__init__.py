"""Qt widgets that know no session: signals out, setters in."""
