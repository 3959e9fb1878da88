"""Which mutant of the core is caught by which guarantee, and what the reason of the broken verdict says then."""

PROOFS = {
    "tasks.any-text": {
        "mutant:text-as-ascii": "in the queue are ['?berpr?fe the r?sum?... --now']",
        "mutant:send-twice": "in the queue are ['Überprüfe the résumé... --now', 'Überprüfe",
    },
    "tasks.hello-world-by-default": {
        "mutant:send-twice": "in the queue are ['Hello World!', 'Hello World!']",
    },
    "tasks.a-dot-is-a-second": {
        "mutant:work-skipped": "prints \" [x] Received 'Hello...'\": not within",
    },
    "tasks.shared-between-workers": {
        "mutant:work-skipped": "each worker does one task: not within",
    },
    "durability.producer-and-consumer-must-agree": {
        "mutant:declares-nothing": "workqueue worker (2) ends: not within",
    },
    "core.worker-acks-after-the-work": {
        "mutant:auto-ack": "receives ['hold a task']",
        "mutant:ack-before-work": "receives ['hold a task']",
    },
    "core.acks-what-is-done-and-nothing-else": {
        "mutant:auto-ack": "receives ['hold one', 'hold another']",
        "mutant:ack-forgotten": "the ack of a task makes room for the next",
        "mutant:ack-on-another-channel": "the ack of a task makes room for the next",
        "mutant:ack-everything": "receives ['hold one', 'hold another']",
        "mutant:ack-of-another-task": "receives ['hold one', 'hold another']",
    },
    "core.failed-task-comes-back": {
        "mutant:ack-on-failure": "the task that failed is tried again",
        "mutant:requeue-off": "the task that failed is tried again",
        "mutant:failure-ends-the-worker": "the task that failed is tried again",
        "mutant:work-skipped": "the task that failed is tried again",
    },
    "core.failed-task-counts": {
        "mutant:nack-where-reject-is-due": "failures do not count",
        "mutant:ack-on-failure": "it is dead-lettered, or tried too often",
        "mutant:requeue-off": "the task was given up after 1 tries",
    },
    "core.rejected-task-is-dead-lettered": {
        "mutant:ack-on-reject": "the rejected task is dead-lettered",
        "mutant:requeue-on-reject": "the rejected task was tried again",
    },
    "core.one-task-at-a-time": {
        "mutant:no-qos": "with prefetch 1, the worker was given 10 tasks at once",
        "mutant:qos-after-consume": "with prefetch 1, the worker was given 10 tasks at once",
    },
    "core.heartbeats-during-a-long-task": {
        "mutant:work-on-io-thread": "the broker gave the busy worker up",
    },
    "core.says-when-cancelled": {
        "mutant:quiet-when-cancelled": "the broker ended its subscription, and it ended with status 0",
        "mutant:deaf-to-cancel": "workqueue worker (1) ends: not within",
    },
    "core.says-when-cut-off": {
        "mutant:quiet-when-cut": "its connection was cut, and it ended with status 0",
    },
    "core.stop-finishes-the-task-in-hand": {
        "mutant:stop-at-once": "SIGTERM ended the worker in the middle of its task",
        "mutant:stop-ignored": "ends: not within",
        "mutant:ack-twice": "ended with status 1 (ChannelClosed)",
        "mutant:settle-before-cancel": "sent the other task to a worker that was stopping",
    },
    "core.stop-hands-back-what-was-not-started": {
        "mutant:stop-acks-the-rest": "of ['a second task', 'a third task'], [] came back",
        "mutant:stop-drops-the-rest": "of ['a second task', 'a third task'], [] came back",
    },
    "core.handing-back-is-no-failure": {
        "mutant:stop-fails-the-rest": "a task that was handed back counts as failed",
    },
    "core.messages-are-persistent": {
        "mutant:transient-message": "of 5 messages, 0 survived the restart",
    },
    "core.send-puts-it-in-the-queue-once": {
        "mutant:send-twice": "in the queue are ['one', 'one'",
    },
    "core.refused-is-told": {
        "mutant:no-confirm": "that it refused some was not told",
        "mutant:nack-taken-for-ack": "that it refused some was not told",
        "mutant:send-without-waiting": "that it refused some was not told",
    },
    "core.unroutable-is-told": {
        "mutant:mandatory-off": "no queue took it, and send ended with success",
        "mutant:returns-ignored": "no queue took it, and send ended with success",
        "mutant:no-confirm": "no queue took it, and send ended with success",
    },
    "core.unconfirmed-is-unknown": {
        "mutant:no-confirm": "no confirm came, and send ended with success",
        "mutant:send-without-waiting": "no confirm came, and send ended with success",
    },
    "core.close-waits-for-confirms": {
        "mutant:close-without-waiting": "were not confirmed",
    },
}

#: A mistake that is none on other versions.
ONLY_ON = {"mutant:nack-where-reject-is-due": ">=4.3"}
