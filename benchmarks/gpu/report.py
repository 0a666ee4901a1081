"""The page of the GPU's figures, from what results.json holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def write_page(results: Mapping[str, Any]) -> str:
    """results: as JSON gives it back; `notes` are paragraphs by the person who measured."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    machine = results["machine"]
    yield f"# The service on one {machine['GPU']}"
    yield ""
    yield f"`make bench-gpu`; photos: {results['photos']}."
    yield ""
    for note in results.get("notes", ()):
        yield from (note, "")
    yield from _table(("", ""), machine.items())
    if "model" in results:
        yield from _section("The model alone, images/s")
        yield "fp16; the time of the GPU alone, but for eager, where Python is the slower one."
        yield ""
        yield from _rates(results["model"])
    if "engine" in results:
        yield from _section("The engine from NumPy to NumPy, images/s")
        yield from _rates(results["engine"])
    if "decode_images_per_s" in results:
        yield from _section("Decoding")
        yield f"One process on each core: {results['decode_images_per_s']:.0f} images/s."
    if "fractions" in results:
        yield from _section("Processes that share the GPU, images/s of all together")
        rows = [(count, *rates.values()) for count, rates in results["fractions"].items()]
        sizes = next(iter(results["fractions"].values()))
        yield from _table(("processes", *(f"batches of {size}" for size in sizes)), rows)
    for key in sorted(key for key in results if key.startswith("service_")):
        yield from _service(key.removeprefix("service_"), results)


def _service(classifiers: str, results: Mapping[str, Any]) -> Iterator[str]:
    yield from _section(
        f"Over HTTP: {results['ingresses']} ingress replicas, {classifiers} Classifier(s)"
    )
    yield "p50 and p99: at 70 % of the closed loop's rate (in ms); GPU: nvidia-smi, closed loop."
    yield ""
    head = ("requests", "images/s", "p50", "p99", "closed p50", "closed p99", "GPU, %", "wrong")
    latencies = ("p50_ms", "p99_ms", "closed_p50_ms", "closed_p99_ms")
    columns = ("images_per_s", *latencies, "gpu_percent", "wrong")
    rows = [
        (f"{case['images']} {case['name']}", *(case[column] for column in columns))
        for case in results[f"service_{classifiers}"]
    ]
    yield from _table(head, rows)


def _section(title: str) -> Iterator[str]:
    yield from ("", f"## {title}", "")


def _rates(rates: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in rates.values() for name in row))
    rows = [(size, *(row.get(name, "") for name in names)) for size, row in rates.items()]
    yield from _table(("batch", *names), rows)


def _table(head: Sequence[str], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(_cell(each) for each in row) + " |"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return "" if value is None else str(value)
