"""One module a measurement: frozen `Options`, and `run(options) -> Table`.

The name of the module is the name on the command line, and the first line of its docstring is what
the list of measurements says about it.
"""
