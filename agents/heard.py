"""What a socket has been sent of its conversation, for it hears of one event in several ways."""

from uuid import UUID

from agents import wire


class Heard:
    """Durable events by their seq, and the turns whose end was among them.

    whole  all events up to this seq were sent, or were no event
    ended  turns whose end was sent
    """

    __slots__ = ("whole", "ended", "_beyond")

    def __init__(self):
        self.whole = 0
        self.ended: set[UUID] = set()
        self._beyond: set[int] = set()  # and of those beyond ``whole``, these

    def note(self, *numbers: int) -> None:
        """These need not be sent any more."""
        self._beyond.update(number for number in numbers if number > self.whole)
        while self.whole + 1 in self._beyond:
            self.whole += 1
            self._beyond.discard(self.whole)

    def take(self, events) -> None:
        """These are sent now."""
        for event in events:
            if isinstance(event, wire.DURABLE):
                self.note(event.seq)
            if isinstance(event, wire.TurnFinished):
                self.ended.add(event.turn)

    def is_news(self, event) -> bool:
        """Whether it was not sent yet."""
        if isinstance(event, wire.TurnFinished):
            return event.turn not in self.ended
        return not isinstance(event, wire.MessageEvent) or event.seq > self.whole and event.seq not in self._beyond
