"""Time a probe: a network's layers as files of one runtime, on a device that has that runtime.

    python latency_table.py --weights best.pt --runtime onnx-int8 --probe probe   # at home
    python latency_probe.py probe --threads 4                                     # on the device
    python slim_prune.py --weights best.pt --data my.data --target-latency-ms 30 \\
        --latency-table probe/table.json                                          # at home again

Needs Python, numpy and the runtime, nothing else: copy the folder, in which this script lies, to
the device, run it there, and bring back table.json. Files are timed one by one, the fastest tenth
of their passes counts, and the whole network before and after them: where these two are far apart,
the device was not quiet, or grew hot.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

FORMAT, VERSION = "darkslim latency table", 1
WARMUP, RUNS, WHOLE_RUNS = 3, 15, 40
MOST_S = 3.0  # of one file's passes
SHOWN_EVERY_S = 5.0
_FAR = 1.1  # the whole network's second time over its first


def main(argv=None):
    """Time every file and write the table; its path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a probe, as latency_table.py --probe writes it")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: the runtime's own")
    parser.add_argument("--device-name", default=platform.machine(), help="what the table is of")
    parser.add_argument("--output", type=Path, help="the table; left out, FOLDER/table.json")
    args = parser.parse_args(argv)
    output = args.output or args.folder / "table.json"
    if output.exists():
        stop(f"{output}: is there already; name another --output")
    probe = read_probe(args.folder / "probe.json")
    opener = opener_of(probe["runtime"])

    def times_ms(told, runs):
        path = args.folder / told["file"]
        try:
            return passes_ms(opener(path, tuple(told["shape"]), args.threads), runs)
        except Exception as error:  # of any runtime, whatever it raises
            stop(f"{path}: {probe['runtime']} cannot run it ({' '.join(str(error).split())[:200]})")

    before = times_ms(probe["whole"], WHOLE_RUNS)
    layers = list(timed_layers(probe["layers"], lambda told: times_ms(told, RUNS)))
    after = times_ms(probe["whole"], WHOLE_RUNS)
    first, second = (float(np.percentile(each, 10)) for each in (before, after))
    if not 1 / _FAR < second / first < _FAR:
        print(f"the whole network took {first:.3g} ms, and {second:.3g} at the end: not quiet")
    p10, median, p90 = (float(each) for each in np.percentile(before + after, (10, 50, 90)))
    table = {
        "format": FORMAT, "version": VERSION, "cfg_sha256": probe["cfg_sha256"],
        "img_hw": probe["img_hw"], "runtime": probe["runtime"], "device": args.device_name,
        "whole_ms": {"median": median, "p10": p10, "p90": p90}, "layers": layers,
    }  # fmt: skip
    unfinished = output.with_name(output.name + ".part")
    unfinished.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(output)
    print(f"{probe['runtime']}: {p10:.3f} ms as it is (median {median:.3f})\nWrote {output}")
    return output


def read_probe(path):
    """What the probe's file says; ends the program for anything else."""
    try:
        probe = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        stop(f"{path}: cannot be read ({error.strerror})")
    except ValueError:
        stop(f"{path}: is no JSON; latency_table.py --probe writes it")
    if not isinstance(probe, dict) or probe.get("format") != "darkslim latency probe":
        stop(f"{path}: is no probe; latency_table.py --probe writes it")
    for key in ("cfg_sha256", "img_hw", "runtime", "layers", "whole"):
        if key not in probe:
            stop(f"{path}: says no {key}; latency_table.py --probe writes it anew")
    return probe


def timed_layers(layers, time_ms):
    """The table's entries; the terminal is told how far it is."""
    count = sum(len(row) for layer in layers for row in layer["files"])
    done, shown = 0, time.monotonic()
    began = shown
    for layer in layers:
        rows = []
        for row in layer["files"]:
            rows.append([float(np.percentile(time_ms(told), 10)) for told in row])
            done += len(row)
            if time.monotonic() - shown > SHOWN_EVERY_S:
                shown = time.monotonic()
                left_s = (shown - began) / done * (count - done)
                print(f"{done} of {count} files, {left_s:.0f} s left", file=sys.stderr, flush=True)
        named = {key: layer[key] for key in ("layers", "inputs", "outputs", "tied")}
        yield {**named, "times_ms": rows}


def passes_ms(run, runs):
    """Milliseconds of some passes, warm; fewer where one takes long."""
    for _ in range(WARMUP):
        run()
    found: list[float] = []
    deadline = time.perf_counter() + MOST_S
    while len(found) < runs and (len(found) < 3 or time.perf_counter() < deadline):
        began = time.perf_counter()
        run()
        found.append((time.perf_counter() - began) * 1e3)
    return found


def opener_of(runtime):
    """What opens the files of a runtime: (path, shape of the input, threads) -> a pass."""
    kind = runtime.split("-")[0]
    if kind not in OPENERS:
        stop(f"{runtime}: no runtime that this script knows; it knows {', '.join(OPENERS)}")
    return OPENERS[kind]


def onnx(path, shape, threads):
    """ONNX Runtime."""
    module = needed("onnxruntime", "onnxruntime")
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    session = module.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: noise(shape)}
    return lambda: session.run(None, given)


def openvino(path, shape, threads):
    """OpenVINO, in float32 where the file says nothing else."""
    how = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        how["INFERENCE_NUM_THREADS"] = threads
    model = needed("openvino", "openvino").Core().compile_model(str(path), "CPU", how)
    given = [noise(shape)]
    return lambda: model(given)


def opencv(path, shape, threads):
    """OpenCV: a cfg with its .weights (4), or an ONNX file (5)."""
    cv2 = needed("cv2", "opencv-python-headless")
    if threads:
        cv2.setNumThreads(threads)
    if path.suffix == ".cfg":
        net = cv2.dnn.readNetFromDarknet(str(path), str(path.with_suffix(".weights")))
    else:
        net = cv2.dnn.readNetFromONNX(str(path))
    given, names = noise(shape), net.getUnconnectedOutLayersNames()

    def run():
        net.setInput(given)
        return net.forward(names)

    return run


def ncnn(path, shape, threads):
    """ncnn, in float32."""
    module = needed("ncnn", "ncnn")
    net = module.Net()
    if threads:
        net.opt.num_threads = threads
    for name in ("fp16_arithmetic", "fp16_storage", "fp16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError("it cannot be opened")
    given, ends = module.Mat(noise(shape)[0]), net.output_names()

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", given)
        return [extractor.extract(name) for name in ends]

    return run


def mnn(path, shape, threads):
    """MNN, in float32 where the file says nothing else."""
    module = needed("MNN", "MNN")
    how = {"backend": "CPU", "precision": "high", "numThread": threads or os.cpu_count() or 1}
    manager = module.nn.create_runtime_manager((how,))
    told = module.nn.load_module_from_file(str(path), [], [], runtime_manager=manager).get_info()
    net = module.nn.load_module_from_file(
        str(path), told["inputNames"], told["outputNames"], runtime_manager=manager
    )
    given = module.expr.const(noise(shape), shape, module.expr.NCHW)
    return lambda: [each.read() for each in net.forward([given])]


def litert(path, shape, threads):
    """LiteRT, or TensorFlow Lite's own small package."""
    try:
        module = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError:
        module = needed("tflite_runtime.interpreter", "ai-edge-litert")
    model = module.Interpreter(model_path=str(path), num_threads=threads or None)
    model.allocate_tensors()
    entry = model.get_input_details()[0]
    given = noise(shape).astype(entry["dtype"])  # of int8 mere zeros, which takes as long

    def run():
        model.set_tensor(entry["index"], given)
        model.invoke()

    return run


def executorch(path, shape, threads):
    """ExecuTorch, whose Python runtime takes tensors of torch."""
    torch = needed("torch", "torch")
    if threads:
        torch.set_num_threads(threads)
    runtime = needed("executorch.runtime", "executorch").Runtime.get()
    run = runtime.load_program(path.read_bytes()).load_method("forward")
    given = [torch.from_numpy(noise(shape))]
    return lambda: run.execute(given)


OPENERS = {
    "onnx": onnx, "openvino": openvino, "opencv": opencv, "ncnn": ncnn, "mnn": mnn,
    "litert": litert, "executorch": executorch,
}  # fmt: skip


def noise(shape):
    """The input of every pass: float32 in 0..1."""
    return np.random.default_rng(0).random(shape, np.float32)


def needed(module, package):
    """The module of a runtime; ends the program where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        stop(f"{module}: is not installed here: pip install {package}")


def stop(what):
    """End the program with one line."""
    print(f"error: {what}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
