"""What an Echo's traffic looks like: ``python -m tests.traffic_page`` writes docs/alexa-traffic.md.

records    a capture as TLS records, names asked for, connections opened
uploads    the commands in the captures, and what went on around each of them
figures    the numbers of the page
plots      its pictures
page       the document

The captures are research data and are not in the repository: only lengths, times and counts leave them.
"""
