"""Why a packet or a connection got its verdict, told after a replay.

``witness`` looks on while ``guard.replay`` judges a capture and writes down stories (``story``); ``words``
makes sentences of them, ``show`` prints these, ``mapping`` gives them to machines, ``picture`` draws them.
Verdicts come from the engine alone: nothing here judges, and nothing reads payload.
"""
