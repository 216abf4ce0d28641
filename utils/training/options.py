"""A training, as plain values: what `train_network` takes, and what train.py's flags become.

    TrainOptions(cfg="cfg/my.cfg", data="data/my.data", epochs=30)

Each field is a flag of train.py (see `command/flag_fields.py`), with the same default; a test holds
them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..cfg import Cfg
from ..command.cli import img_size
from ..command.errors import UserError
from ..command.flag_fields import flag, from_flags, to_flags
from ..data.options import FLIP, AugmentOptions
from ..detection.as_the_cfg_says import FROM_CFG
from .distillation.options import TeacherOptions
from .losses.options import LossOptions
from .optimization.options import Amp, OptimizerOptions, Rates, ScheduleOptions, rates_of
from .sparse.options import PRUNE_SCRIPTS, REMEASURED, SparsityOptions

INT8_LR_SHARE = 0.1  # of the usual learning rate


@dataclass(frozen=True)
class StartOptions:
    """What a new run starts from: a .weights or .pt file; '' is random weights.

    cutoff: only the layers before it are loaded. strict: weights for other classes are an error;
    else all but the heads' last layers load. masks: a .pt whose masks hold weights at 0.
    """

    weights: str = ""
    cutoff: int | None = None
    strict: bool = field(default=False, metadata=flag("strict_weights"))
    masks: str = ""


@dataclass(frozen=True)
class FreezeOptions:
    """What does not learn.

    layers: so many from the first on. statistics: the BN statistics of all layers. but_heads: all
    but the heads' last convolutions. as_darknet: also what a cfg's `stopbackward` holds for a
    number of steps.
    """

    layers: int = field(default=0, metadata=flag("freeze"))
    statistics: bool = field(default=False, metadata=flag("freeze_bn"))
    but_heads: bool = field(default=False, metadata=flag("transfer"))
    as_darknet: bool = field(default=False, metadata=flag("hyp_from_cfg"))


@dataclass(frozen=True)
class ImageOptions:
    """How images are fed to the network.

    size: (height, width) in pixels, None is the cfg's. batch_size: images per forward pass, of all
    processes together. multi_scale: another size every 10 batches. rect: batches of images of
    similar aspect ratio. fit: "cfg", "letterbox" or "stretch". workers: processes that load images,
    -1 picks. cache: keep resized images in RAM, all from the start. keep_mb: megabytes of resized
    images that stay in RAM as they are read, None is a quarter of what is free. weighted: draw
    images with rare classes more often.
    strict: problems in the data are errors. close_mosaic: epochs at the end without a mosaic.
    """

    size: tuple[int, int] | None = field(default=None, metadata=flag("img_size", read=img_size))
    batch_size: int = 8
    multi_scale: bool = False
    rect: bool = False
    fit: str = FROM_CFG
    workers: int = -1
    cache: bool = field(default=False, metadata=flag("cache_images"))
    keep_mb: int | None = field(default=None, metadata=flag("keep_images_mb"))
    weighted: bool = field(default=False, metadata=flag("img_weights"))
    strict: bool = False
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    close_mosaic: int = 5


@dataclass(frozen=True)
class EpochOptions:
    """What follows an epoch.

    nosave, notest: checkpoints and scores after the last epoch only. noplots: no pictures. nms: of
    the scoring, "cfg" or a name. patience: stop after so many epochs without a better one; 0 never.
    """

    nosave: bool = False
    notest: bool = False
    noplots: bool = False
    nms: str = FROM_CFG
    patience: int = 0


@dataclass(frozen=True)
class MachineOptions:
    """What a run computes with.

    device: as `pick_device` takes it. threads: of the CPU's forward pass, None is torch's choice.
    amp: the type of the convolutions. channels_last: how images lie in memory, None is tried where
    a training is long, and then saved with it. compile: by torch.compile. sync_bn: BN statistics
    over all processes.
    """

    device: str = ""
    threads: int | None = None
    amp: Amp = "auto"
    channels_last: bool | None = None
    compile: bool = False
    sync_bn: bool = False


@dataclass(frozen=True)
class TrainOptions:
    """One training; the defaults are those of train.py's flags.

    name: the run's folder below `project`, '' takes the cfg's name. exist_ok: also where a run of
    this name stands already, whose files are replaced. int8: finetune for 8 bits, with the network
    in float as the teacher where none is named. seed: of weights, order and augmentation.
    typed: the flags that a command line gave, as they are saved; {} for a call from Python.
    Raises UserError where values do not go together or lie outside their range.
    """

    cfg: str = "cfg/demo.cfg"
    data: str = "data/shapes/shapes.data"
    epochs: int = 100
    seed: int = 0
    name: str = ""
    project: str = "runs/train"
    exist_ok: bool = False
    int8: bool = False
    start: StartOptions = field(default_factory=StartOptions)
    freeze: FreezeOptions = field(default_factory=FreezeOptions)
    images: ImageOptions = field(default_factory=ImageOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    sparsity: SparsityOptions = field(default_factory=SparsityOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    after_epoch: EpochOptions = field(default_factory=EpochOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)
    typed: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.int8:
            return
        if not self.start.weights:
            raise UserError("--int8 finetunes a trained network for 8 bits: name its --weights")
        if self.sparsity.on:
            raise UserError("--int8 comes last: train sparsely and prune before it")
        if self.machine.compile or self.machine.amp not in ("auto", "off"):
            raise UserError("--int8 computes in float32: leave out --compile and --amp")

    @staticmethod
    def of_flags(typed: Mapping[str, Any]) -> TrainOptions:
        """The options that values by the names of train.py's flags give, all of which are there."""
        script = typed["strategy"] or PRUNE_SCRIPTS[typed["prune"]]
        return replace(from_flags(TrainOptions, {**typed, "strategy": script}), typed=dict(typed))

    @property
    def rates(self) -> Rates:
        """The optimizer, its learning rate and its momentum, as given or by default."""
        found = rates_of(self.optimizer, self.sparsity.by_gradient)
        if self.int8 and self.optimizer.lr0 is None:  # it is there already, but for the rounding
            return replace(found, lr0=found.lr0 * INT8_LR_SHARE)
        return found

    @property
    def remeasured(self) -> int:
        """Training images to measure BN statistics on, as given or by default."""
        if self.sparsity.remeasure is not None:
            return self.sparsity.remeasure
        return REMEASURED if self.sparsity.on and not self.freeze.statistics else 0

    def decided(self, cfg: Cfg) -> TrainOptions:
        """These options with what follows from them and from the cfg's [net] in place of None.

        A run saves them so.
        """
        images = self.images
        if images.augment.flip is None:
            share = FLIP if cfg.net.flag("flip", True) else 0.0
            images = replace(images, augment=replace(images.augment, flip=share))
        rates = self.rates
        optimizer = replace(self.optimizer, kind=rates.kind, lr0=rates.lr0, momentum=rates.momentum)
        sparsity = replace(self.sparsity, remeasure=self.remeasured)
        teacher, machine = self.teacher, self.machine
        if self.int8:
            machine = replace(machine, amp="off")
            if not teacher.cfg:
                start = self.start.weights
                teacher = replace(teacher, cfg=self.cfg, weights=start)
        return replace(
            self,
            images=images,
            optimizer=optimizer,
            sparsity=sparsity,
            teacher=teacher,
            machine=machine,
        )

    def saved(self) -> dict[str, Any]:
        """The flags that give these options: what was typed, and in it what has changed since."""
        now = to_flags(self)
        if not self.typed:
            return now
        typed = to_flags(TrainOptions.of_flags(self.typed))
        changed = {key: value for key, value in now.items() if value != typed[key]}
        return {**self.typed, **changed}
