"""Nothing outlives the run, also when the run is killed with SIGKILL.

One helper process a client process, joined to it by a socket pair. It is the parent of every process that
the client starts through it; when the client goes away, however it goes, the socket closes, and the warden
kills those processes with all that they started, removes the directories it made, removes containers by
their label, deletes the queues it was told of, and exits. Standard library only.
"""

from workqueue.warden._client import Child, Warden, WardenError, get_warden

__all__ = ["Child", "Warden", "WardenError", "get_warden"]
