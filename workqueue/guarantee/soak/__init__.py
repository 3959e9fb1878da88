"""Soak: producers and workers at work for minutes while a nemesis breaks things, then a full drain, then a judgement.

=============  ========================================================================================
`schedule`     what is broken when: a pure function of the seed
`hand`         what the producer and worker processes share; `producer` and `worker` are the two programs
`crew`         those processes and the relays that they connect through, as the parent sees them
`journal`      what happened to every task, a few bytes an event
`nemesis`      breaks things, and proves that it did
`drain`        empties the queue when it is over
`judgement`    what the journal must not contain
`run`          all of it together
=============  ========================================================================================
"""
