"""Exit codes of the hub's process, when it ends by itself.

They are the system's own (sysexits.h): EX_SOFTWARE, EX_IOERR, EX_TEMPFAIL. The command line's other codes are in
agentcom.cli.exits. May import: nothing.
"""

ROOT_GAVE_UP = 70
STORE_PANIC = 74
HUNG = 75

MEANING = {
    ROOT_GAVE_UP: "gave up: more crashes than the root of the supervision tree allows, or the web server ended; "
    "the log's `hub.gave_up` names the child and the last crash",
    STORE_PANIC: "store panic: the disk failed or did not answer; what was acknowledged is on disk, "
    "and the log's `store.panicked` says what the system said",
    HUNG: "hung: the loop did not answer for `runtime.hang_s`; the log shows where",
}
