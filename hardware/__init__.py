"""The sensing side: the mute LED on a GPIO pin, the wake word from a microphone.

``wakeguard sense`` is a process of its own. It opens the pin and the microphones, which the gate never
opens, and gives up the right to touch the firewall, which the gate needs. The two share one thing only:
the event lines of ``guard.core.event``. Audio is never stored, logged or sent.

mute_led  wake_word  voice   pure: samples, scores and ``now`` in; states and events out
sensor                       pure: the three above and the heartbeat, one event list out
audio  detectors/            what a block of audio is; who finds words in it
gpio  scripted               pins: a real one through gpiozero, or a written script
microphones  arecord  wav    microphones: found and asked, recorded from, or played from a file
listener                     a microphone, its detectors and their recovery, on a thread of its own
publish                      event lines to the gate's socket and into a trace
sense                        the composition root; ``cli`` and ``calibrate`` are what a person calls
"""
