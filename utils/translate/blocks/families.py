"""Every block that is translated, by the name of its class."""

from __future__ import annotations

from . import attention, v3, v6, v7, v8, v9, v10, v11
from .heads import HEADS
from .writer import Emitter, Joiner

EMITTERS: dict[str, Emitter] = {
    **v3.EMITTERS,
    **v6.EMITTERS,
    **v7.EMITTERS,
    **v8.EMITTERS,
    **v9.EMITTERS,
    **v10.EMITTERS,
    **v11.EMITTERS,
    **attention.EMITTERS,
}
JOINERS: dict[str, Joiner] = {**v8.JOINERS, **HEADS}
