"""The kernel's side of the gate: firewall marks, the rules that set them, the queue that reads them.

``marks`` is the layout of the fwmark, ``ruleset`` renders and installs the rules, ``queue`` binds the
packet queue, ``kernel`` says what the kernel lacks and what it counted. No verdict is reached here.
"""
