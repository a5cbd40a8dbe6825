"""The pure core: (packets, sensor events, time) in, (verdicts, facts) out.

Nothing in here reads a clock, a file or a socket, starts a thread, writes a log line or draws a
random number. Time is the argument ``now`` (seconds, monotonic). Whoever feeds it the same packets,
events and times gets the same decisions: the live gate, a replayed capture and the lab alike.
"""
