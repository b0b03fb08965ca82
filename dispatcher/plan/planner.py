"""What a run would send, found by packing its input without sending any; pure.

The records go through the codec and the packer of a run, so the requests, their routes and what is
refused are those of a run over the same input. Beside it the first part of the input is packed in
other ways, to know what they would save.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.config.settings import Config
from dispatcher.connectors.files.source import must_be_json
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer
from dispatcher.plan.alternatives import Alternative, alternatives, base64_field
from dispatcher.plan.cost import Assumptions, Prices, Usage, total
from dispatcher.plan.extent import Extent
from dispatcher.plan.tally import Classic, Refusals, Spread, Tally, refuse
from dispatcher.records.record import Item, LargeRecord, Record, Unreadable

TRIAL_BYTES = 32_000_000
TRIAL_RECORDS = 20_000
"""How much of the input is packed in other ways; that takes a few seconds."""

_MIN_SAVING = 0.2
"""Share of the cost that has to be saved by a change; else it is not recommended."""

_MIN_SAVING_OF_CLASSIC = 0.01
"""The same as a share of what the usual flow costs: what is cheap already may stay as it is."""

_MIN_BYTES_SAVED = 0.2
"""Share of the bytes that has to be saved to be told."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to pack, tried on the first part of the input.

    Attributes:
        way: The way.
        tally: What it made.
        used_dollars: What that costs; of a request that is not full a part.
        records: Records that it sent.
    """

    alternative: Alternative
    tally: Tally
    used_dollars: float
    records: int

    @property
    def dollars_each(self) -> float:
        """Return what a record costs that is sent."""
        return self.used_dollars / self.records if self.records else 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """The change that is recommended.

    Attributes:
        trial: The way to pack, tried.
        now: The configured way, tried on the same records.
    """

    trial: Trial
    now: Trial

    @property
    def saving(self) -> float:
        """Return the share of the cost of a record that it saves, 0..1."""
        return 1 - self.trial.dollars_each / self.now.dollars_each

    @property
    def lighter(self) -> float:
        """Return the share of the bytes that it saves, 0..1."""
        return 1 - self.trial.tally.bytes.total() / self.now.tally.bytes.total()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The totals of the whole input; of a plan that is complete they are exact.

    Attributes:
        records: All records.
        requests: The requests, never more than the records.
        dollars: What they cost.
        classic_dollars: What the records cost in the usual flow.
    """

    records: float
    requests: float
    dollars: float
    classic_dollars: float


@dataclass(frozen=True, slots=True)
class DryRun:
    """What was found.

    Attributes:
        config: What was planned.
        assumed: What the cost depends on besides.
        prices: US dollars per million.
        sizes: How large the records are that could be read, in bytes.
        tally: The requests.
        unreadable: Input that could not become a record, by reason.
        classic: The same records in the usual flow.
        trials: The ways that were tried; the first is the configured one.
        tried_records: On how many records.
        extent: How much of the input all of that is of.
    """

    config: Config
    assumed: Assumptions
    prices: Prices
    sizes: Spread
    tally: Tally
    unreadable: dict[str, Refusals]
    classic: Classic
    trials: Sequence[Trial]
    tried_records: int
    extent: Extent

    @property
    def read(self) -> int:
        """Return all records, those that cannot be sent included."""
        return self.sizes.count + sum(refusal.records for refusal in self.unreadable.values())

    @property
    def refused(self) -> dict[str, Refusals]:
        """Return what would be dead letters, by reason."""
        found = dict(self.unreadable)
        for reason, refusal in self.tally.refused.items():
            if (known := found.get(reason)) is not None:
                refusal = Refusals(known.records + refusal.records, known.place, known.message)
            found[reason] = refusal
        return found

    @property
    def used(self) -> Usage:
        """Return what the records that were read use, of a request that is not full a part."""
        return self.tally.usage_made(self.assumed)

    @property
    def dollars(self) -> float:
        """Return what that costs."""
        return total(self.used, self.prices)

    @property
    def classic_dollars(self) -> float:
        """Return what the records cost in the usual flow."""
        return total(self.classic.usage(), self.prices)

    @property
    def estimate(self) -> Estimate | None:
        """Return what the whole input comes to; None where it is not known how large that is."""
        if (scale := self.extent.scale) is None:
            return None
        return Estimate(
            records=self.read * scale,
            requests=self.tally.requests_made * scale,
            dollars=self.dollars * scale,
            classic_dollars=self.classic_dollars * scale,
        )

    def advice(self) -> Advice | None:
        """Return the change that is worth it, and None where there is none."""
        if not self.trials or not self.trials[0].records:
            return None
        now = best = self.trials[0]
        min_saving = _MIN_SAVING_OF_CLASSIC * self.classic_dollars / self.sizes.count
        for trial in sorted(
            self.trials[1:], key=lambda tried: (tried.alternative.level, tried.dollars_each)
        ):
            if trial.tally.refused_records > now.tally.refused_records:
                continue
            saved = best.dollars_each - trial.dollars_each
            if saved > 0 and saved >= max(_MIN_SAVING * best.dollars_each, min_saving):
                best = trial
        return Advice(best, now) if best is not now else None

    def lighter(self) -> Advice | None:
        """Return the change that sends files as they are instead of in base64, if it is one.

        It saves little in dollars, and bytes and work at both ends.
        """
        for trial in self.trials:
            if trial.alternative.unwraps and trial.records:
                advice = Advice(trial, self.trials[0])
                refused = trial.tally.refused_records - advice.now.tally.refused_records
                return advice if advice.lighter >= _MIN_BYTES_SAVED and refused <= 0 else None
        return None


class Planner:
    """Packs an input, batch by batch, and counts what comes of it.

    Args:
        config: What would be run.
        assumed: What the cost depends on besides.
        prices: US dollars per million.
        trial_bytes: How much is packed in other ways.
    """

    def __init__(
        self,
        config: Config,
        assumed: Assumptions,
        prices: Prices,
        *,
        trial_bytes: int = TRIAL_BYTES,
    ) -> None:
        self._config = config
        self._assumed = assumed
        self._prices = prices
        self._packer = _CountedPacker(config, Alternative(config.packing))
        self._trials: list[_CountedPacker] | None = None
        self._tried_bytes = 0
        self._tried_records = 0
        self._trial_bytes = trial_bytes
        self._sizes = Spread()
        self._classic = Classic()
        self._unreadable: dict[str, Refusals] = {}

    @property
    def read(self) -> int:
        """Records so far, those that cannot be sent included."""
        return self._sizes.count + sum(refusal.records for refusal in self._unreadable.values())

    def add(self, items: Sequence[Item]) -> None:
        """Pack the next items of the input, in order."""
        records: list[Record | LargeRecord] = []
        for item in items:
            if isinstance(item, Unreadable):
                refuse(self._unreadable, item, named=is_named(self._config))
            else:
                records.append(item)
        for record in records:
            self._sizes.add(record.size)
        self._classic.add(records)
        self._packer.add(records)
        self._try(records)

    def finish(self, extent: Extent) -> DryRun:
        """Return what was found; nothing can be added any more.

        Args:
            extent: How much of the input was added.
        """
        self._packer.finish(ended=extent.complete)
        tried: list[Trial] = []
        for packer in self._trials or ():
            packer.finish(ended=extent.complete and self._tried_records == self._sizes.count)
            dollars = total(packer.tally.usage_made(self._assumed), self._prices)
            trial = Trial(packer.alternative, packer.tally, dollars, packer.tally.sizes.total)
            # What no record can be sent in is no way.
            if trial.records or not tried:
                tried.append(trial)
        return DryRun(
            self._config,
            self._assumed,
            self._prices,
            self._sizes,
            self._packer.tally,
            self._unreadable,
            self._classic,
            tried,
            self._tried_records,
            extent,
        )

    def _try(self, records: list[Record | LargeRecord]) -> None:
        """Pack the first records in the other ways too."""
        sample: list[Record] = []
        for record in records:
            if isinstance(record, LargeRecord):
                # It goes through S3 whatever it is packed in.
                continue
            if self._tried_bytes >= self._trial_bytes or self._tried_records >= TRIAL_RECORDS:
                break
            self._tried_bytes += record.size
            self._tried_records += 1
            sample.append(record)
        if not sample:
            return
        if self._trials is None:
            base64_name, content_type = base64_field(sample), self._config.request.content_type
            found = alternatives(self._config.packing, base64_name, content_type)
            self._trials = [_CountedPacker(self._config, alternative) for alternative in found]
        for packer in self._trials:
            packer.add(sample)


class _CountedPacker:
    """A packer with what it made counted."""

    def __init__(self, config: Config, alternative: Alternative) -> None:
        self.alternative = alternative
        self.tally = Tally(is_named(config))
        codec = codec_of(config, alternative)
        self._packer = Packer(alternative.packing, codec, staging=has_staging(config))

    def add(self, records: Sequence[Record | LargeRecord]) -> None:
        self.tally.add(self._packer.add(records, 0.0))

    def finish(self, *, ended: bool) -> None:
        self.tally.finish(self._packer.flush(), self.alternative.packing, ended=ended)


def codec_of(config: Config, alternative: Alternative) -> Codec:
    """Return what a run that packs this way would encode with."""
    # Whether records are JSON was up to the source, which read them for the configured way.
    json_source = must_be_json(config.source, config.packing)
    content_type = config.request.content_type
    if "request.content_type" in alternative.changes:
        content_type = None
    return Codec(alternative.packing, content_type=content_type, json_source=json_source)


def content_types(config: Config, alternative: Alternative) -> list[str]:
    """Return what the container is told of the payloads of a way, one for each encoding."""
    codec = codec_of(config, alternative)
    return [codec.content_type(encoding) for encoding in codec.encodings]


def has_staging(config: Config) -> bool:
    """Return whether a run would have a bucket for large payloads; an emulator brings its own."""
    return config.staging.bucket is not None or config.emulator is not None


def is_named(config: Config) -> bool:
    """Return whether records are files, known by their paths."""
    return config.source.type == "files"
