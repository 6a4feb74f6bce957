"""How bytes are counted: traced addresses, compiled code, a modelled cache, imported counters, measured roofs."""
