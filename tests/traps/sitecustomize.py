"""Python looks for this module at every start: it sets the trap in processes that the tests start."""

import trap

trap.set_trap()
