"""What others of this field (yolov5, ultralytics, Darknet, the older suites) call our flags."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

# Our flag -> theirs, all without dashes before and with _ between words. A name of several of ours
# is read as the first of them that a command has.
_THEIRS = {
    "img_size": ("imgsz", "img", "image_size", "size"),
    "batch_size": ("batch", "bs"),
    "cache_images": ("cache",),
    "conf_thres": ("conf", "thresh", "conf_thresh"),
    "iou_thres": ("iou", "nms_thres", "iou_thresh"),
    "lr0": ("lr", "learning_rate"),
    "flip": ("fliplr",),
    "box_gain": ("box",),
    "obj_gain": ("obj",),
    "cls_gain": ("cls",),
    "img_weights": ("image_weights",),
    "notest": ("noval",),
    "t_cfg": ("teacher_cfg",),
    "t_weights": ("teacher_weights", "teacher"),
    "distill": ("KDstr",),
    "unlabelled": ("unlabeled",),
    "sparsity_regularization": ("sr", "sparse"),
    "device": ("gpu", "gpus"),
    "force": ("exist_ok", "overwrite"),
    "global_percent": ("percent", "prune_ratio", "ratio"),
    "percent": ("global_percent", "prune_ratio", "ratio"),
    "view": ("view_img", "show"),
    "task": ("split",),
    "format": ("include",),
    "output": ("save_dir", "out"),
    "weights": ("pretrained", "checkpoint"),
}


def our_spelling(argument: str, value: str, known: Collection[str]) -> str:
    """A word of a command line with its flag as the command knows it; other words stay.

    `value` is the word behind it: ultralytics' `--model` is a structure or weights, as its suffix
    says.
    """
    flag, equals, attached = argument.partition("=")
    if not flag.startswith("--") or flag in known:
        return argument
    stem, ours = _stem(flag), _by_stem(known)
    if stem == "model" and "model" not in ours:
        stem = "cfg" if (attached or value).lower().endswith(".cfg") else "weights"
    found = ours.get(stem) or _theirs(ours).get(stem)
    return f"{found}{equals}{attached}" if found else argument


def nearest(unknown: Collection[str], known: Collection[str]) -> str:
    """ "; did you mean --X, --Y?" for the unknown words that look like flags; "" if none does."""
    ours = _by_stem(known)
    names = {**_theirs(ours), **ours}
    meant = []
    for word in unknown:
        flag, equals, value = word.partition("=")
        as_ultralytics_writes = bool(equals) and not word.startswith("-")
        if word.startswith("-") or as_ultralytics_writes:
            close = get_close_matches(_stem(flag), names, n=1)
            if close:
                told = f" {value}" if as_ultralytics_writes else ""
                meant.append(f"{names[close[0]]}{told}")
    return f"; did you mean {', '.join(meant)}?" if meant else ""


def second_names(known: Collection[str]) -> str:
    """The other names of a command's flags, a line for each flag that has some."""
    names: dict[str, list[str]] = {}
    for name, flag in _theirs(_by_stem(known)).items():
        names.setdefault(flag, []).append(f"--{name.replace('_', '-')}")
    return "".join(f"  {flag:<21} {' '.join(several)}\n" for flag, several in names.items())


def _by_stem(known: Collection[str]) -> dict[str, str]:
    return {_stem(flag): flag for flag in known if flag.startswith("--")}


def _theirs(ours: dict[str, str]) -> dict[str, str]:
    """Their names of the flags that a command has -> these flags."""
    found: dict[str, str] = {}
    for stem, names in _THEIRS.items():
        for name in names:
            if stem in ours and name not in ours:
                found.setdefault(name, ours[stem])
    return found


def _stem(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
