"""What the balanced policy gives and what it costs: ``python -m tests.balanced`` writes docs/balanced.md.

senders    who sends speech, in which records: as measured on Echos, and as a detector was not made for
play       a sender before the engine in enforce: what leaves, on how many connections
uploads    the uploads of the research captures, replayed without a wake word
life       conversations, follow-up turns and songs in the lab's household
page       the document and its picture
"""
