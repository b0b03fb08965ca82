"""The dry run: the requests of a run, from packing its input without sending any; pure.

The records go through the codec and the packer of a run, so requests, routes and refusals are those
of a run over the same input. Beside it the first part of the input is packed in other ways, to
compare their cost.
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
"""The part of the input that is packed in other ways; it takes a few seconds."""

_MIN_SAVING = 0.2
"""Share of the cost that a change must save to be recommended."""

_MIN_SAVING_OF_CLASSIC = 0.01
"""The same as a share of the usual flow's cost: a cheap packing needs no change."""

_MIN_BYTES_SAVED = 0.2
"""Share of the bytes that a change must save to be reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way to pack, tried on the first part of the input.

    Attributes:
        alternative: The way to pack.
        tally: Its requests.
        used_dollars: Their cost; of a partial request a share.
        records: Records that it sent.
    """

    alternative: Alternative
    tally: Tally
    used_dollars: float
    records: int

    @property
    def dollars_each(self) -> float:
        """Return the cost of a record that is sent."""
        return self.used_dollars / self.records if self.records else 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommended change.

    Attributes:
        trial: The way to pack, tried.
        now: The configured packing, tried on the same records.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The totals of the whole input; exact where the plan is complete.

    Attributes:
        records: All records.
        requests: The requests, never more than the records.
        dollars: Their cost.
        classic_dollars: The cost of the records in the usual flow.
    """

    records: float
    requests: float
    dollars: float
    classic_dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The result of a dry run.

    Attributes:
        config: The planned configuration.
        assumed: The assumptions behind the cost.
        prices: US dollars per million.
        sizes: Sizes of the records that could be read, in bytes.
        tally: The requests.
        unreadable: Input that could not become a record, by reason.
        classic: The same records in the usual flow.
        trials: The alternatives that were tried; the first is the configured packing.
        tried_records: The number of records they were tried on.
        extent: The part of the input that all of this covers.
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
        """Return the number of records, even those that cannot be sent."""
        return self.sizes.count + sum(refusal.records for refusal in self.unreadable.values())

    @property
    def refused(self) -> dict[str, Refusals]:
        """Return the records that would be dead letters, by reason."""
        found = dict(self.unreadable)
        for reason, refusal in self.tally.refused.items():
            if (known := found.get(reason)) is not None:
                refusal = Refusals(known.records + refusal.records, known.place, known.message)
            found[reason] = refusal
        return found

    @property
    def used(self) -> Usage:
        """Return the usage of the records that were read; of a partial request a share."""
        return self.tally.usage_made(self.assumed)

    @property
    def dollars(self) -> float:
        """Return the cost of ``used``."""
        return total(self.used, self.prices)

    @property
    def classic_dollars(self) -> float:
        """Return the cost of the records in the usual flow."""
        return total(self.classic.usage(), self.prices)

    @property
    def estimate(self) -> Estimate | None:
        """Return the totals of the whole input; None where its size is not known."""
        if (scale := self.extent.scale) is None:
            return None
        return Estimate(
            records=self.read * scale,
            requests=self.tally.requests_made * scale,
            dollars=self.dollars * scale,
            classic_dollars=self.classic_dollars * scale,
        )

    def advice(self) -> Advice | None:
        """Return the change that saves enough; None where there is none."""
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
        """Return the change that sends files as they are instead of in base64, if it applies.

        It saves few dollars, but bytes, and work at both ends.
        """
        for trial in self.trials:
            if trial.alternative.unwraps and trial.records:
                advice = Advice(trial, self.trials[0])
                refused = trial.tally.refused_records - advice.now.tally.refused_records
                return advice if advice.lighter >= _MIN_BYTES_SAVED and refused <= 0 else None
        return None


class Planner:
    """Planner of an input: packs it batch by batch, and counts the requests.

    Args:
        config: The configuration to plan.
        assumed: The assumptions behind the cost.
        prices: US dollars per million.
        trial_bytes: Bytes of records to pack in other ways.
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
        """Records so far, even those that cannot be sent."""
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
        self._try_alternatives(records)

    def finish(self, extent: Extent) -> DryRun:
        """Return the result; nothing can be added afterwards.

        Args:
            extent: The part of the input that was added.
        """
        self._packer.finish(ended=extent.complete)
        tried: list[Trial] = []
        for packer in self._trials or ():
            packer.finish(ended=extent.complete and self._tried_records == self._sizes.count)
            dollars = total(packer.tally.usage_made(self._assumed), self._prices)
            trial = Trial(
                alternative=packer.alternative,
                tally=packer.tally,
                used_dollars=dollars,
                records=packer.tally.sizes.total,
            )
            # A packing in which no record can be sent is no alternative.
            if trial.records or not tried:
                tried.append(trial)
        return DryRun(
            config=self._config,
            assumed=self._assumed,
            prices=self._prices,
            sizes=self._sizes,
            tally=self._packer.tally,
            unreadable=self._unreadable,
            classic=self._classic,
            trials=tried,
            tried_records=self._tried_records,
            extent=extent,
        )

    def _try_alternatives(self, records: list[Record | LargeRecord]) -> None:
        """Pack the first records in the other ways too."""
        sample: list[Record] = []
        for record in records:
            if isinstance(record, LargeRecord):
                # It goes through S3 in any packing.
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
    """A packer whose parcels are counted."""

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
    """Return the codec of a run that packs this way."""
    # The source has decided for the configured packing if records are JSON.
    json_source = must_be_json(config.source, config.packing)
    content_type = config.request.content_type
    if "request.content_type" in alternative.changes:
        content_type = None
    return Codec(alternative.packing, content_type=content_type, json_source=json_source)


def content_types(config: Config, alternative: Alternative) -> list[str]:
    """Return the content types of an alternative's payloads, one for each encoding."""
    codec = codec_of(config, alternative)
    return [codec.content_type(encoding) for encoding in codec.encodings]


def has_staging(config: Config) -> bool:
    """Return whether a run would have a bucket for large payloads; an emulator brings one."""
    return config.staging.bucket is not None or config.emulator is not None


def is_named(config: Config) -> bool:
    """Return whether records are files, known by their paths."""
    return config.source.type == "files"
