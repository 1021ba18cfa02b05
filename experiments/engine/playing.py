"""Batches from a tape, those that are missing computed and added to it.

Several processes may play one tape at a time. Each computes what it needs and nobody is at; while
another is at what it needs, it computes further on, so that no core waits and nothing is computed
twice.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.engine.arithmetic import autocast, to_device
from experiments.engine.frames import Frame, framed
from experiments.engine.tape import Tape
from experiments.record.parts import Arithmetic

AHEAD = 64  # frames that are computed before they are needed, at most
WAIT_SECONDS = 2.0  # for a frame that another process is at, when there is nothing else to do
LOOK_SECONDS = 0.002

Load = Callable[[Iterable[int]], Iterable[Batch]]  # numbers, asked for one by one, to batches
Begin = Callable[[Batch], Frame]


def beginning(detector: AnyDetector, arithmetic: Arithmetic) -> Begin:
    """What runs the fixed front of the detector's backbone, as a training step runs it."""
    device = next(detector.parameters()).device

    @torch.no_grad()
    def begin(batch: Batch) -> Frame:
        moved = to_device(batch, device, arithmetic)
        with autocast(arithmetic, device):
            images_BCHW = detector.normalise(moved.images_BCHW, moved.content_B2)
            return framed(moved, detector.backbone.begin(images_BCHW))

    return begin


class Player:
    """The batches of `numbers`, in order, each as a frame.

    `load` gives the batches of numbers that it draws from an iterator as it needs them; `load_few`
    does so for single ones, without loader processes.
    """

    def __init__(
        self, tape: Tape, numbers: Sequence[int], load: Load, load_few: Load, begin: Begin
    ) -> None:
        self._tape, self._numbers = tape, numbers
        self._load, self._load_few, self._begin = load, load_few, begin
        self._at = 0  # place in `numbers` of what is needed next
        self._next = 0  # place of what the stream may claim next
        self._claimed: deque[int] = deque()  # numbers whose batches the stream brings, in order
        self._stream: Iterator[Batch] | None = None
        self._in_hand: dict[int, Frame] = {}  # needed now, or computed and not to be had again
        self._own: set[int] = set()  # written before they were needed

    def __iter__(self) -> Iterator[Frame]:
        while self._at < len(self._numbers):
            frame = self._frame(self._numbers[self._at])
            self._at += 1
            yield frame

    def _frame(self, number: int) -> Frame:
        patience = time.monotonic() + WAIT_SECONDS
        while True:
            if number in self._in_hand:
                return self._in_hand.pop(number)
            frame = self._tape.read(number)
            if frame is not None:
                self._tape.replayed += number not in self._own
                self._own.discard(number)
                return frame
            if number in self._claimed or self._next <= self._at:
                self._advance()
            elif self._tape.full or self._tape.claim(number) or time.monotonic() > patience:
                self._make(number, next(iter(self._load_few([number]))))
            elif self._next < min(self._at + AHEAD, len(self._numbers)):
                self._advance()
            else:
                time.sleep(LOOK_SECONDS)

    def _advance(self) -> None:
        """Compute the next batch of the stream, which is what is needed now or comes after it."""
        if self._stream is None:
            self._stream = iter(self._load(self._claims()))
        batch = next(self._stream, None)
        if batch is None:
            self._next = len(self._numbers)
        else:
            self._make(self._claimed.popleft(), batch)

    def _claims(self) -> Iterator[int]:
        """The numbers that are for this process to compute; of a full tape, all that it lacks."""
        self._next = max(self._next, self._at)
        while self._next < len(self._numbers):
            number = self._numbers[self._next]
            self._next += 1
            free = not self._tape.holds(number) if self._tape.full else self._tape.claim(number)
            if free:
                self._claimed.append(number)
                yield number
            self._next = max(self._next, self._at)

    def _make(self, number: int, batch: Batch) -> None:
        frame = self._begin(batch)
        kept = self._tape.keep(number, frame)
        self._tape.release(number)
        if number == self._numbers[self._at] or not kept:
            self._in_hand[number] = frame
        else:
            self._own.add(number)
