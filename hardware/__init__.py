"""The sensing side: the mute LED and the wake word.

Nothing senses yet. Until it does, the gate takes its context from events sent by hand
(``wakeguard event``) or read from a recorded trace. Whatever comes to live here runs in a process of
its own, opens the microphone that the gate never opens, and shares with the gate one thing only: the
event lines of ``guard.core.event``.
"""
