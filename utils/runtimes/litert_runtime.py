"""A network as a LiteRT (.tflite) file, converted from PyTorch itself, and run by LiteRT.

Float files end with the boxes, as ONNX ones do. Files in int8 end with the raw heads: pixels and
probabilities in one tensor leave no scale for both. Calibrated ones are integer from end to end;
those of a network finetuned for int8 take images in integers and give the heads in float.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..command.errors import UserError
from ..command.files import require_file
from ..command.muted import muted
from ..command.optional import INT8_NEEDS, load, require
from ..network.darknet import Network, raw_ends
from ..network.int8.written import LITERT_FORM, written
from .onnx.export import INPUT_NAME, OUTPUT_NAME
from .onnx.metadata import stated_entries, stated_names
from .real_images import Images

_SIGNATURE = "serving_default"
# What TensorFlow Lite's own metadata is: a ZIP behind the model, which the runtime does not see.
METADATA_NAME = "darkslim.json"


class _Named(nn.Module):
    """The forward pass with its outputs by name: those names are the file's."""

    def __init__(self, network: Network, raw: bool) -> None:
        super().__init__()
        self.network = network
        self.raw = raw

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if not self.raw:
            return {OUTPUT_NAME: self.network(images)}
        return {f"head{k}": raw for k, raw in enumerate(raw_ends(self.network, images))}


def save_litert(
    network: Network,
    path: Path,
    metadata: Mapping[str, str],
    half: bool = False,
    calibration: Images = (),
) -> None:
    """Write a loaded network for images of its size, one at a time; raw heads in int8.

    half: kernels in float16, which the runtime widens as it opens the file. calibration: images
    for int8; a network on grids is written in int8 by those. Raises UserError where the converter
    refuses the network.
    """
    on_grids = bool(network.grids)
    fused = written(network, LITERT_FORM) if on_grids else copy.deepcopy(network).eval().fuse()
    wrapped = _Named(fused, raw=on_grids or bool(calibration)).eval()
    images = torch.rand(1, fused.in_channels, *fused.img_size)
    with muted(), torch.no_grad():
        try:
            made = load("litert_torch").convert(
                wrapped,
                sample_kwargs={INPUT_NAME: images},
                quant_config=_pairs_become_integers() if on_grids else None,
            )
            made.export(str(path))
            if half:
                _halve(path)
            if calibration:
                _quantize(path, calibration)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            raise UserError(f"{network.cfg.source}: LiteRT cannot take it ({reason})") from None
    path.chmod(0o644)  # some of its writers make programs of files
    with zipfile.ZipFile(path, "a") as archive:
        # ZipInfo: without the time of day, the same network gives the same bytes.
        archive.writestr(zipfile.ZipInfo(METADATA_NAME), json.dumps(dict(metadata), indent=1))


def _pairs_become_integers() -> Any:
    """The converter's mode in which quantize and dequantize become integer kernels.

    Without it they stay as operations of their own around kernels in float.
    """
    quantizers = load("litert_torch.quantize.pt2e_quantizer")
    static = quantizers.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
    return load("litert_torch.quantize.quant_config").QuantConfig(
        pt2e_quantizer=quantizers.PT2EQuantizer().set_global(static)
    )


def _halve(path: Path) -> None:
    """float16 as it is stored, float32 as it is computed: LiteRT has no kernels for the former."""
    recipes, types = load("ai_edge_quantizer.recipe_manager"), load("ai_edge_quantizer.qtyping")
    algorithms = load("ai_edge_quantizer.algorithm_manager")
    half = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
    manager = recipes.RecipeManager()
    manager.add_quantization_config(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=algorithms.AlgorithmName.FLOAT_CASTING,
        op_config=types.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=types.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
    )
    quantizer = load("ai_edge_quantizer.quantizer")
    done = quantizer.Quantizer(str(path), manager.get_quantization_recipe()).quantize()
    done.export_model(str(path), overwrite=True)


def _quantize(path: Path, images: Images) -> None:
    """Kernels by output channel, activations by tensor, input and outputs too."""
    require(INT8_NEEDS["litert"], "int8 for LiteRT")
    recipe, quantizer = load("ai_edge_quantizer.recipe"), load("ai_edge_quantizer.quantizer")
    work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    ranges = work.calibrate({_SIGNATURE: [{INPUT_NAME: image} for image in images]})
    work.quantize(ranges).export_model(str(path), overwrite=True)


class LiteRtNetwork:
    """`model(x)`: images (B, 3, H, W) in 0..1 -> (B, N, 5 + nc), as `Darknet` in eval mode gives.

    `network` decodes the heads of an int8 file, whose integers are turned into numbers here. Raises
    UserError for a file that LiteRT cannot open, or without our names of input and outputs.
    """

    def __init__(self, path: str | Path, network: Network, threads: int | None = None) -> None:
        self._source = require_file(path, "the LiteRT model")
        self._network = network
        with muted():  # it tells that it has kernels
            interpreter = load("ai_edge_litert.interpreter").Interpreter
            try:
                opened = interpreter(
                    model_path=str(self._source), num_threads=threads or torch.get_num_threads()
                )
                signature = opened.get_signature_list().get(_SIGNATURE, {})
                self._check(signature)
                self._run = opened.get_signature_runner(_SIGNATURE)
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(f"{self._source}: LiteRT cannot open it ({reason})") from None
        self._interpreter = opened  # the runner holds no reference
        self._given = self._run.get_input_details()[INPUT_NAME]
        self._scales = {
            name: told["quantization"] for name, told in self._run.get_output_details().items()
        }

    def _check(self, signature: Mapping[str, Any]) -> None:
        heads = [f"head{k}" for k in range(len(self._network.heads))]
        ends = signature.get("outputs")
        if signature.get("inputs") != [INPUT_NAME] or ends not in ([OUTPUT_NAME], heads):
            raise UserError(f"{self._source}: no graph from images to boxes, as export.py writes")

    @property
    def names(self) -> tuple[str, ...] | None:
        """Class names of the file's metadata, if it has any."""
        if not zipfile.is_zipfile(self._source):
            return None
        with zipfile.ZipFile(self._source) as archive:
            told = stated_entries(archive.read(METADATA_NAME))
        return stated_names(told.get("names"))

    def __call__(self, images: Tensor) -> Tensor:
        """Boxes (B, N, 5 + nc) float32 on the CPU. Raises UserError for another size of image."""
        blob = images.detach().to("cpu", torch.float32).contiguous().numpy()
        wanted = [int(size) for size in self._given["shape"]]
        if list(blob.shape[1:]) != wanted[1:]:
            raise UserError(
                f"{self._source}: is made for {wanted[3]}x{wanted[2]} pixels, not for "
                f"{blob.shape[3]}x{blob.shape[2]} (--img-size)"
            )
        return torch.cat([self._boxes(part) for part in np.split(blob, len(blob))])

    def _boxes(self, image: NDArray[np.float32]) -> Tensor:
        found = self._run(**{INPUT_NAME: _stored(image, self._given)})
        values = {
            name: torch.from_numpy(_widened(out, self._scales[name])) for name, out in found.items()
        }
        if OUTPUT_NAME in values:
            return values[OUTPUT_NAME]
        size = (image.shape[2], image.shape[3])
        heads = [
            head.decode(values[f"head{k}"], size) for k, head in enumerate(self._network.heads)
        ]
        return torch.cat(heads, 1)


def _stored(values: NDArray[np.float32], told: Mapping[str, Any]) -> NDArray[Any]:
    """As the file takes its input: 8 bits by its scale, or as it is."""
    if told["dtype"] != np.int8:
        return values
    scale, zero = told["quantization"]
    stored: NDArray[np.int8] = np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)
    return stored


def _widened(values: NDArray[Any], quantization: tuple[float, int]) -> NDArray[np.float32]:
    scale, zero = quantization
    if values.dtype != np.int8:
        return np.array(values, dtype=np.float32)
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
