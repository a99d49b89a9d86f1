"""How workers come to be: on YARN or as local processes, behind one interface (base.Launcher)."""
