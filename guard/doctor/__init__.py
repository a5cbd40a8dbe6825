"""Is all well? A table of checks, each of which looks at one thing and says what to do about a fault.

``situation`` is what is known of the machine and the gate, ``examination`` runs the checks; the checks lie in
modules by what they look at. They change nothing and send nothing.
"""
