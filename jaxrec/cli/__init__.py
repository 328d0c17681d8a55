"""Commands that only wire: one module a command, imported when it is called."""
