"""Wake-word detectors on real and synthesised speech, and the training of our own head.

``python -m tests.audio_bench`` measures every detector on offer and writes ``docs/wake-word.md``;
``python -m tests.audio_bench.train`` trains the head in ``models/wake-alexa-v1``;
``python -m tests.audio_bench.embedding`` makes the streaming graph in ``models/speech-embedding-v1``.
Nothing here asserts a figure. Recordings stay in ``../shared/data/audio`` and are never written anywhere.
"""
