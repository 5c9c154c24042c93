"""What the record knows of structures that are being followed through the stack. Part of `Record`."""

from __future__ import annotations

from napari_mediround.journal.entries import StackBegun, StackEnded


class StackRecord:
    """One run at a time; it goes on after a restart unless it has ended."""

    @property
    def stack(self) -> tuple[int, StackBegun] | None:
        """What is being followed through the stack, with its number; None where nothing is."""
        event = self._history.stack
        return (event.seq, event.entry) if event is not None else None

    def begin_stack(self, plan: StackBegun) -> int:
        """Note that structures are being followed through the stack; return the batch of their rounds."""
        with self._guard:
            self._write(plan)
            return self._history.last

    def end_stack(self) -> None:
        """Note that what was being followed has ended."""
        with self._guard:
            if self.stack is not None:
                self._write(StackEnded(self.stack[0]))
