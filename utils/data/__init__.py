"""Data: Darknet's files, images and boxes in batches, with random changes for training."""

from .augment import AugmentOptions
from .darknet_files import DataSpec, load_data_file, load_list, load_names
from .dataset import DetectionDataset, Draw, Item
from .images import UnreadableImageError, image_size, read_image
from .labels import label_path, read_labels
from .letterbox import Fit, Geometry, letterbox
from .loader import Batch, Loader, collate, make_loader, resize_batch
from .problems import Problem
from .samples import Sample, class_balance_weights, class_counts, load_samples

__all__ = [
    "AugmentOptions",
    "Batch",
    "DataSpec",
    "DetectionDataset",
    "Draw",
    "Fit",
    "Geometry",
    "Item",
    "Loader",
    "Problem",
    "Sample",
    "UnreadableImageError",
    "class_balance_weights",
    "class_counts",
    "collate",
    "image_size",
    "label_path",
    "letterbox",
    "load_data_file",
    "load_list",
    "load_names",
    "load_samples",
    "make_loader",
    "read_image",
    "read_labels",
    "resize_batch",
]
