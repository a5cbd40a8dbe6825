"""How conversations fare behind the gate: ``python -m tests.conversations`` writes docs/conversations.md.

director   a household in enforce, its lamp, its word and its Echos, told what to do
lateness   the wake event comes late: does the utterance arrive whole, and how soon?
success    a hundred conversations between what else an Echo sends; muting and unmuting
page       the figures as a document
"""
