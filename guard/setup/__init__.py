"""Put the gate onto a machine, and take it off again.

``discovery`` finds Echos, ``configuration`` writes the owner's file, ``units`` and ``accounts`` what systemd
needs, ``plan`` puts them in order, ``removal`` undoes all of it. Everything made here says so itself (a
first line, a user's comment), so that nothing else is ever removed. Nothing here knows what a packet is.
"""
