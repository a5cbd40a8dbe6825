"""A household in a box: simulated Echos, a simulated cloud, and the real gate between them.

What is simulated is only what an Echo and its cloud *say*. They say it in real TLS 1.2 and 1.3 over
the kernel's own TCP, through the real ``wakeguard run`` on the real NFQUEUE, and what counts is what
the cloud's side received.

    scenario     the paper's four situations, as data
    runner       walks them, in monitor and in enforce, in any Household
    household    Household as a protocol; the one of network namespaces
    namespaces   makes and removes the namespaces, also those a killed lab left behind
    simulation   the other Household: one process, virtual time, packets put together by hand
    echo, cloud  the two ends; the same code runs in a namespace and in the simulation
    session      one connection: TLS over any asyncio transport, one frame a record
    frames       what the lab says inside TLS, so that the receiver can count it
    report       what was sent, what the gate said, what arrived, and whether that is as promised
    capture      records the household for replay
"""
