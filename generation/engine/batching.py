"""Many callers' images in one denoising loop: a request joins between two steps and leaves when it is done."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch

from generation.engine import memory
from generation.engine.denoising import Sample
from generation.engine.errors import OutOfMemory
from generation.engine.pipeline import Engine
from generation.engine.request import ImageRequest, ImageResult, OnDraft, OnStep

logger = logging.getLogger(__name__)
Wanted = TypeVar("Wanted")
Made = TypeVar("Made")

OnCall = Callable[[float], None]
"""Called with the seconds of each step of the loop: a call of the UNet, and what the schedulers make of it."""


@dataclass(eq=False)
class Ticket:
    """One caller's request while it is in the loop."""

    request: ImageRequest
    samples: list[Sample]
    on_step: OnStep
    on_draft: OnDraft | None
    accelerator_seconds: float  # so far: its share, by rows, of the steps that it was part of, and what came before
    stepped: int = 0  # steps that all its samples have done
    ended: Future[None] = field(default_factory=Future)
    draft: Future[None] | None = None  # the last one, which may still be painted

    @property
    def steps(self) -> int:
        """How many steps its samples take."""
        return len(self.samples[0].timesteps)


@dataclass(eq=False)
class Seat:
    """One sample in the loop."""

    ticket: Ticket
    sample: Sample
    turn: int = 0  # number of the loop's step that it was last part of

    @property
    def rows(self) -> int:
        """How many rows it has in a call of the UNet."""
        return 1 if self.sample.guide is None else 2

    @property
    def latents(self) -> int:
        """What it weighs in a call of the UNet: rows times latents."""
        h, w = self.sample.latents.shape[2:]
        return self.rows * h * w

    @property
    def shape(self) -> tuple[int, ...]:
        """What must be equal to share a call: the size of the latents and the length of the prompt."""
        return (*self.sample.latents.shape[2:], self.sample.conditional.prompt_embeds.shape[1])


class BatchingEngine:
    """An engine that any number of threads may call at once.

    One thread steps whatever is there; another encodes what comes and decodes what goes, so that neither holds up the
    steps. An image is the one that the engine would make of the request alone, to within one level of a channel.
    """

    def __init__(self, engine: Engine, batch_images: int = 16, on_call: OnCall | None = None):
        """`batch_images` of the model's native size, with guidance, share a call of the UNet at most."""
        self.engine = engine
        self._on_call = on_call or (lambda seconds: None)
        self.model_name, self.revision, self.vae_name = engine.model_name, engine.revision, engine.vae_name
        self.scheduler_name = engine.scheduler_name
        self.most_latents = 2 * batch_images * engine.native_latents
        self._arriving: SimpleQueue[Ticket | None] = SimpleQueue()
        self._seats: list[Seat] = []
        self._turn = 0
        threads = torch.get_num_threads()
        self._ends = Ends(engine)
        self._loop = threading.Thread(target=self._run, args=(threads,), name="denoising", daemon=True)
        self._loop.start()

    def generate(
        self, request: ImageRequest, on_step: OnStep | None = None, on_draft: OnDraft | None = None
    ) -> ImageResult:
        """Make the images of a request beside those of others; the callbacks are called from other threads.

        Raises:
            UnknownScheduler: the request names one that we don't have.
            OutOfMemory, BrokenLatents: there is no image to show.
            Whatever on_step and on_draft raise; the request is out of the loop then.
        """
        report = on_step or (lambda step, steps: None)
        samples, preparing_seconds = self._ends.prepare(request)
        ticket = Ticket(request, samples, report, on_draft, accelerator_seconds=preparing_seconds)
        report(0, ticket.steps)
        self._arriving.put(ticket)
        ticket.ended.result()
        result = self._ends.finish(request, samples)
        return replace(result, accelerator_seconds=ticket.accelerator_seconds + result.accelerator_seconds)

    def synchronize(self) -> None:
        """Wait until the device has done what it was given so far; raises as the engine's own does."""
        self.engine.synchronize()

    def close(self) -> None:
        """End the threads once all that was begun is done."""
        self._arriving.put(None)
        self._loop.join()
        self._ends.close()

    def _run(self, threads: int) -> None:
        # Only this thread computes with several others. OpenMP lets those of a second one sleep between operations, and
        # everybody's too from then on: each step takes twice as long on two cores.
        compute_with(threads)
        closing = False
        while self._seats or not closing:
            closing = self._admit() or closing
            if self._seats:
                self._turn += 1
                seats = self._choose()
                try:
                    self._step(seats)
                except Exception as error:  # in recovering from another, say: nobody may wait for a loop that is gone
                    for seat in seats:
                        self._leave(seat.ticket, error)

    def _admit(self) -> bool:
        """Seat whoever has come, waiting while there is nothing else to do; tell whether to close."""
        closing = False
        while not self._arriving.empty() or not (self._seats or closing):
            ticket = self._arriving.get()
            if ticket is None:
                closing = True
            else:
                self._seats += [Seat(ticket, sample) for sample in ticket.samples]
        return closing

    def _choose(self) -> list[Seat]:
        """Return who is stepped next: those of one shape with the one that has waited longest, as many as fit.

        Each comes first after as many turns as there are others, whatever its size.
        """
        seats = sorted(self._seats, key=lambda seat: seat.turn)
        chosen: list[Seat] = []
        latents = 0
        for seat in seats:
            if seat.shape == seats[0].shape and (not chosen or latents + seat.latents <= self.most_latents):
                chosen.append(seat)
                latents += seat.latents
        return chosen

    def _step(self, seats: Sequence[Seat]) -> None:
        """Advance samples of one shape by a step; where that fails, in ever smaller parts, until it is known who."""
        begun = time.perf_counter()
        try:
            predictions = self.engine.predict([seat.sample for seat in seats])
        except Exception as error:  # whatever it is, it is the fault of one and must not be that of its neighbours
            failure = error.with_traceback(None)  # which holds on to the tensors of the failed attempt
        else:
            for seat, prediction in zip(seats, predictions, strict=True):
                if not seat.ticket.ended.done():
                    self._advance(seat, prediction)
            seconds, rows = time.perf_counter() - begun, sum(seat.rows for seat in seats)
            self._on_call(seconds)
            for seat in seats:
                seat.ticket.accelerator_seconds += seconds * seat.rows / rows
            for ticket in {seat.ticket: None for seat in seats}:
                self._report(ticket)
            return
        self._recover(seats, failure)

    def _recover(self, seats: Sequence[Seat], failure: Exception) -> None:
        out_of_memory = isinstance(failure, RuntimeError) and memory.is_out_of_memory(failure)
        if out_of_memory:
            self.engine.release_cache()
        if len(seats) > 1:
            if out_of_memory:
                self.most_latents = sum(seat.latents for seat in seats) // 2
                logger.warning("Out of memory, %d latents a step from now on.", self.most_latents)
            half = len(seats) // 2
            self._step(seats[:half])
            self._step(seats[half:])
        elif out_of_memory and not self.engine.saves_memory:
            logger.warning("Out of memory for a single image, tiling the VAE, which works beside it, from now on.")
            self.engine.save_memory()
            self._step(seats)
        else:
            self._leave(seats[0].ticket, OutOfMemory(str(failure)) if out_of_memory else failure)

    def _advance(self, seat: Seat, prediction: torch.Tensor) -> None:
        try:
            self.engine.advance(seat.sample, prediction)
        except Exception as error:  # of this sample's scheduler; its neighbours go on
            self._leave(seat.ticket, error)
            return
        seat.turn = self._turn
        if seat.sample.is_done:
            self._seats.remove(seat)

    def _report(self, ticket: Ticket) -> None:
        """Tell a caller how far it is, and let it go where it is done or wants to."""
        stepped = min(sample.position for sample in ticket.samples)
        if ticket.ended.done() or stepped == ticket.stepped:
            return
        ticket.stepped = stepped
        try:
            if ticket.on_draft and stepped < ticket.steps:
                self._offer_draft(ticket, ticket.on_draft)
            ticket.on_step(stepped, ticket.steps)
        except Exception as error:  # the caller's own, and meant for it
            self._leave(ticket, error)
            return
        if stepped == ticket.steps:
            self._leave(ticket)

    def _offer_draft(self, ticket: Ticket, on_draft: OnDraft) -> None:
        """Let a caller paint a draft beside the loop, unless it is still at the last one."""
        if ticket.draft is None or ticket.draft.done():
            if ticket.draft is not None:
                ticket.draft.result()  # raises what on_draft raised
            latents = ticket.samples[0].draft_latents
            ticket.draft = self._ends.submit(on_draft, partial(self.engine.paint, ticket.request, latents))

    def _leave(self, ticket: Ticket, error: Exception | None = None) -> None:
        self._seats = [seat for seat in self._seats if seat.ticket is not ticket]
        if ticket.ended.done():
            return
        if error is None:
            ticket.ended.set_result(None)
        else:
            ticket.ended.set_exception(error)


def compute_with(threads: int) -> None:
    """Let this thread compute with so many; threads that begin later do too, unless they say otherwise."""
    torch.get_num_threads()  # else the first operation here would take over what another thread set last
    torch.set_num_threads(threads)


class Ends:
    """What comes before and after the loop, in a thread of its own: texts and pictures are encoded, latents decoded."""

    def __init__(self, engine: Engine):
        self._thread = ThreadPoolExecutor(1, "ends", compute_with, (1,))
        self._preparing = Together(
            self._thread, engine.prepare_all, lambda request: engine.frugally(engine.prepare, request)
        )
        self._finishing = Together(
            self._thread, engine.finish_all, lambda done: engine.frugally(engine.finish, done[0], done[1])
        )

    def submit(self, call: Callable[..., None], *arguments: object) -> Future[None]:
        """Call something in this thread."""
        return self._thread.submit(call, *arguments)

    def prepare(self, request: ImageRequest) -> tuple[list[Sample], float]:
        """Return the samples of a request at their first step, and its share of the seconds that it took."""
        return self._preparing.make(request, request.samples)

    def finish(self, request: ImageRequest, samples: Sequence[Sample]) -> ImageResult:
        """Return the images of a request whose samples are done, with its share of the seconds that it took."""
        result, seconds = self._finishing.make((request, samples), request.samples)
        return replace(result, accelerator_seconds=seconds)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


class Together(Generic[Wanted, Made]):
    """Makes all that waits for a thread together, or one by one where that fails, so that each has its own failure."""

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        make_all: Callable[[Sequence[Wanted]], list[Made]],
        make_one: Callable[[Wanted], Made],
    ):
        self._thread, self._make_all, self._make_one = thread, make_all, make_one
        self._waiting: SimpleQueue[tuple[Wanted, int, Future[tuple[Made, float]]]] = SimpleQueue()

    def make(self, wanted: Wanted, samples: int) -> tuple[Made, float]:
        """Return what is made, and the share of so many samples of the seconds that it took."""
        future: Future[tuple[Made, float]] = Future()
        self._waiting.put((wanted, samples, future))
        self._thread.submit(self._make_waiting)
        return future.result()

    def _make_waiting(self) -> None:
        waiting = [self._waiting.get() for _ in range(self._waiting.qsize())]
        if not waiting:
            return  # made with those before
        begun = time.perf_counter()
        try:
            made = self._make_all([wanted for wanted, _, _ in waiting])
        except Exception:  # of one of them
            made = []
        if made:
            seconds = (time.perf_counter() - begun) / sum(samples for _, samples, _ in waiting)
            for (_, samples, future), each in zip(waiting, made, strict=True):
                future.set_result((each, seconds * samples))
        else:  # only now is the traceback gone, and with it the tensors of the failed attempt
            for wanted, _, future in waiting:
                self._make_alone(wanted, future)

    def _make_alone(self, wanted: Wanted, future: Future[tuple[Made, float]]) -> None:
        begun = time.perf_counter()
        try:
            made = self._make_one(wanted)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result((made, time.perf_counter() - begun))
