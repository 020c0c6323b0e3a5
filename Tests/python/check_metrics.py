#!/usr/bin/env python3
"""Holds metrics-cat's files against the programs that they are for. Run by `make dashboards`; about a minute.

TensorBoard's own readers (also one that has the files open while an export is gone on with, and while a run goes back to a
checkpoint), TensorBoard's and PyTorch-style event files read by us, Prometheus' text and OpenMetrics parsers, Python's csv and
json, the JSON Schema of a record, Vega-Lite's schema and renderer, and the HTML page in headless Chromium. What is missing is
an error, not a test left out.
"""
import csv
import io
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "..", "..", "docs", "formats", "metrics.schema.json")
GOLDEN = os.path.join(HERE, "..", "Golden", "metrics-cat")


def cat(*arguments, status=0, **more):
    done = subprocess.run(["metrics-cat", *map(str, arguments)], capture_output=True, text=True, **more)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stdout


def say(text):
    print("ok:", text, flush=True)


def make_run(folder, steps, seed=1, rate=6e-4, odd=True):
    os.makedirs(folder, exist_ok=True)
    noise = random.Random(seed)
    lines = []
    for step in range(1, steps + 1):
        loss = 1.5 + 4 * math.exp(-step * rate * 8) + noise.gauss(0, 0.06)
        record = {
            "step": step, "tokens": step * 4096, "train_loss": loss, "learning_rate": rate, "gradient_norm": abs(noise.gauss(0.8, 0.2)),
            "tokens_per_second": 51000.5, "skipped_steps": 0, "seconds": step * 0.08, "time": 1769860800 + step * 0.25,
        }
        if odd and step == 7:
            record.update(train_loss=None, train_loss_nonfinite="nan", gradient_norm=None, gradient_norm_nonfinite="inf")
        lines.append(json.dumps(record, separators=(",", ":")))
        if step % 10 == 0:
            lines.append(json.dumps({
                "step": step, "tokens": step * 4096, "validation_loss": loss + 0.1, "validation_tokens": 65536,
                "seconds": step * 0.08 + 0.01, "time": 1769860800 + step * 0.25 + 0.125}))
    path = os.path.join(folder, "metrics.jsonl")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(folder, "run.json"), "w") as file:
        json.dump({"schema_version": 1, "config": {"model": {"hidden_size": 64}, "recipe": {"learning_rate": rate, "seed": seed}}}, file)
    return path


def records(path):
    return [json.loads(line) for line in open(path)]


def check_schema(path):
    import jsonschema

    with open(SCHEMA) as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    count = 0
    for name in [path, f"{GOLDEN}/run1/metrics.jsonl", f"{GOLDEN}/run2/metrics.jsonl"]:
        for record in records(name):
            validator.validate(record)
            count += 1
    page = open(os.path.join(HERE, "..", "..", "docs", "formats", "metrics.md")).read()
    for line in re.findall(r"^\{.*\}$", page, re.M):
        validator.validate(json.loads(line))
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", page.split("## run.json")[0], re.M))
    assert documented == set(schema["properties"]), documented ^ set(schema["properties"])
    good = [
        {"step": 1, "update_norm_group_attention": 0.5}, {"step": 1, "checkpoint": "step-1", "checkpoint_seconds": 1.5},
        {"step": 1, "guard": "nonfinite_loss", "guard_value": None, "guard_value_nonfinite": "nan", "guard_limit": 3},
        {"step": 1, "resident_bytes": 1, "peak_resident_bytes": 2, "processor_seconds": 0.5},
        {"step": 1, "epoch": 0.25, "flops_per_second": 1e9, "fraction_of_peak": 0.5, "gradient_outlier_group_layer_11": 9.5},
        {"step": 1, "gradient_norm_group_mlp": None, "gradient_norm_group_mlp_nonfinite": "inf"},
    ]
    bad = [
        {}, {"step": -1}, {"step": 1.5}, {"step": 1, "a": True}, {"step": 1, "a": []}, {"step": 1, "A": 1},
        {"step": 1, "x_nonfinite": "NaN"}, {"step": 1, "tokens": 1.5}, {"step": 1, "gradient_norm": -1}, {"step": 1, "guard": "no"},
        {"step": 1, "checkpoint_bytes": 1}, {"step": 1, "update_norm_group_mlp": -1}, {"step": 1, "gradient_outlier_group_mlp": "9"}, {"step": 1, "epoch": -1}, {"step": 1, "train_loss": "2.5"},
    ]
    for record in good:
        validator.validate(record)
    for record in bad:
        assert not validator.is_valid(record), record
    say(f"{count} records hold to the JSON Schema, {len(bad)} bad ones do not; page and schema name the same keys")


def check_rows(path, folder):
    by_step = {}
    for record in records(path):
        by_step.setdefault(record["step"], {}).update(record)
    rows = list(csv.DictReader(io.StringIO(cat("--to", "csv", folder), newline="")))
    assert len(rows) == len(by_step)
    for row, record in zip(rows, by_step.values()):
        for key, text in row.items():
            value = record.get(key)
            if value is None and key + "_nonfinite" in record:
                assert text == record[key + "_nonfinite"], (key, text)
            else:
                assert text == "" if value is None else float(text) == value, (key, text, value)
    parsed = json.loads(cat("--to", "json", folder))
    assert [row["step"] for row in parsed] == list(by_step) and parsed[6]["train_loss"] is None and parsed[6]["train_loss_nonfinite"] == "nan"
    lines = cat("--to", "tsv", folder).split("\n")
    assert all(len(line.split("\t")) == len(rows[0]) for line in lines if line)
    say("csv, tsv and json have every value, read by Python")


def check_tensorboard(work):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    run, logs = os.path.join(work, "tb-run"), os.path.join(work, "tb-logs")
    path = make_run(run, 40)
    everything = open(path).read().splitlines(keepends=True)

    def write(lines):
        with open(path, "w") as file:
            file.writelines(lines)

    def scalars(accumulator, tag):
        return [(event.step, event.value) for event in accumulator.Scalars(tag)]

    write(everything[:22])
    cat("--to", "tensorboard", "--output", logs, run)
    accumulator = EventAccumulator(logs, size_guidance={"scalars": 0})
    accumulator.Reload()
    assert [step for step, _ in scalars(accumulator, "train_loss")] == list(range(1, 21)), scalars(accumulator, "train_loss")
    # The run goes on: the same reader, which holds the file open, sees the rest.
    write(everything)
    cat("--to", "tensorboard", "--output", logs, run)
    accumulator.Reload()
    values = scalars(accumulator, "train_loss")
    assert [step for step, _ in values] == list(range(1, 41))
    expected = {record["step"]: record["train_loss"] for record in records(path) if "train_loss" in record}
    for step, value in values:
        assert math.isnan(value) if step == 7 else abs(value - expected[step]) < 1e-6 * expected[step]
    assert [step for step, _ in scalars(accumulator, "validation_loss")] == [10, 20, 30, 40]
    assert math.isinf(dict(scalars(accumulator, "gradient_norm"))[7])
    assert accumulator.Scalars("train_loss")[0].wall_time == 1769860800.25
    say("TensorBoard's reader, open all the time, sees an export that is gone on with; nan and inf arrive")
    # The run goes back to step 25 and does the rest anew, twice as high.
    again = []
    for line in everything:
        record = json.loads(line)
        if record["step"] > 25:
            for key in ("train_loss", "validation_loss"):
                if key in record:
                    record[key] *= 2
        again.append(json.dumps(record) + "\n")
    write(again[: len(again) - 3])
    cat("--to", "tensorboard", "--output", logs, run)
    for reader in (accumulator, EventAccumulator(logs, size_guidance={"scalars": 0})):
        reader.Reload()
        values = scalars(reader, "train_loss")
        steps = [step for step, _ in values]
        assert steps == sorted(set(steps)) and steps[-1] == 38 and steps[0] == 1, steps
        assert abs(dict(values)[30] - 2 * expected[30]) < 1e-5
    assert len([name for name in os.listdir(logs) if "tfevents" in name]) == 2
    rows = json.loads(cat("--to", "json", "--select", "train_loss", logs))
    assert [row["step"] for row in rows] == list(range(1, 39)) and abs(rows[29]["train_loss"] - 2 * expected[30]) < 1e-5
    say("a run that went back is shown once, by an old reader and by a new one")

    # Files of others: simple values, tensors of one number, what is no scalar, and a tag with a slash.
    def record(event):
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))

    def tensor(kind, **fields):
        return tensor_pb2.TensorProto(dtype=kind, tensor_shape=tensor_shape_pb2.TensorShapeProto(), **fields)

    values = [
        summary_pb2.Summary.Value(tag="train/loss", simple_value=2.5),
        summary_pb2.Summary.Value(tag="eval/loss", tensor=tensor(1, float_val=[2.25])),
        summary_pb2.Summary.Value(tag="Learning Rate", tensor=tensor(1, tensor_content=struct.pack("<f", 0.1))),
        summary_pb2.Summary.Value(tag="double", tensor=tensor(2, double_val=[0.1])),
        summary_pb2.Summary.Value(tag="packed", tensor=tensor(2, tensor_content=struct.pack("<d", -0.5))),
        summary_pb2.Summary.Value(tag="whole", tensor=tensor(9, int64_val=[-7])),
        summary_pb2.Summary.Value(tag="text", tensor=tensor(7, string_val=[b"x"])),
        summary_pb2.Summary.Value(tag="image", image=summary_pb2.Summary.Image(height=1, width=1)),
        summary_pb2.Summary.Value(tag="histogram", histo=summary_pb2.HistogramProto(min=0, max=1)),
        summary_pb2.Summary.Value(tag="9/lives", simple_value=float("inf")),
    ]
    foreign = os.path.join(work, "events.out.tfevents.1.host")
    with open(foreign, "wb") as file:
        file.write(record(event_pb2.Event(wall_time=5, file_version="brain.Event:2")))
        file.write(record(event_pb2.Event(wall_time=6.5, step=3, summary=summary_pb2.Summary(value=values))))
    rows = list(csv.DictReader(io.StringIO(cat("--to", "csv", foreign))))
    assert rows == [{
        "step": "3", "train_loss": "2.5", "validation_loss": "2.25", "learning_rate": "0.1", "double": "0.1", "packed": "-0.5",
        "whole": "-7.0", "metric_9_lives": "inf", "time": "6.5"}], rows
    # And a writer that is in use everywhere.
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    written = os.path.join(work, "writer")
    writer = EventFileWriter(written)
    for step in range(100):
        writer.add_event(event_pb2.Event(wall_time=step + 1, step=step, summary=summary_pb2.Summary(value=[
            summary_pb2.Summary.Value(tag="train/loss", simple_value=step / 4)])))
    writer.close()
    assert [float(row["train_loss"]) for row in json.loads(cat("--to", "json", written))] == [step / 4 for step in range(100)]
    say("event files of TensorBoard's writer, scalars of every kind, are read")


def check_trainer_state(work):
    try:
        from transformers import TrainerState
    except ImportError:
        TrainerState = None
    state = {"best_metric": None, "epoch": 1.0, "global_step": 20, "log_history": [
        {"epoch": 0.5, "grad_norm": float("nan"), "learning_rate": 5e-05, "loss": 2.5, "step": 10},
        {"epoch": 0.5, "eval_loss": 2.25, "step": 10}, {"epoch": 1.0, "grad_norm": 0.5, "loss": 2.0, "step": 20}]}
    path = os.path.join(work, "trainer_state.json")
    if TrainerState:
        TrainerState(**state).save_to_json(path)
    else:
        with open(path, "w") as file:
            json.dump(state, file, indent=2, sort_keys=True)
    rows = json.loads(cat("--to", "json", "--select", "*_loss", "gradient_norm", path))
    assert rows == [
        {"step": 10, "gradient_norm": None, "gradient_norm_nonfinite": "nan", "train_loss": 2.5, "validation_loss": 2.25},
        {"step": 20, "gradient_norm": 0.5, "train_loss": 2.0, "validation_loss": None}], rows
    say("a trainer state" + (" of transformers" if TrainerState else "") + " is read")


def check_prometheus(path, folder, other):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as textfile

    latest = {}
    for record in records(path):
        for key, value in record.items():
            if isinstance(value, (int, float)):
                latest[key] = value
    families = {family.name: family for family in textfile(cat("--to", "prometheus", folder, other))}
    # Prometheus' Python parser takes `_total` off a counter's name.
    for key, name in {"train_loss": "train_loss", "validation_loss": "validation_loss", "tokens": "tokens", "seconds": "training_seconds",
                      "time": "last_record_timestamp_seconds", "step": "step"}.items():
        family = families["millrace_" + name]
        assert len(family.samples) == 2, family
        assert family.samples[0].value == latest[key] and family.samples[0].timestamp is None, (family, latest[key])
    assert families["millrace_tokens"].type == "counter" and families["millrace_train_loss"].type == "gauge"
    text = cat("--to", "openmetrics", folder, other)
    families = {family.name: family for family in openmetrics(text)}
    train = [sample for sample in families["millrace_train_loss"].samples if sample.labels["run"] == os.path.basename(folder)]
    expected = {record["step"]: record for record in records(path) if "train_loss" in record}
    assert len(train) == len(expected) and math.isnan(train[6].value)
    assert all(sample.value == record["train_loss"] for sample, record in zip(train, expected.values()) if record["step"] != 7)
    assert families["millrace_training_seconds"].unit == "seconds" and families["millrace_tokens"].samples[0].name == "millrace_tokens_total"
    # A textfile appears whole or not at all.
    target = os.path.join(os.path.dirname(folder), "millrace.prom")
    cat("--to", "prometheus", "--output", target, folder)
    assert open(target).read() == cat("--to", "prometheus", folder)
    assert sorted(name for name in os.listdir(os.path.dirname(target)) if "prom" in name) == ["millrace.prom"]
    say("Prometheus' text parser and the strict one of OpenMetrics have every sample")


def check_vega(folder, other, work):
    import altair
    import jsonschema
    import vl_convert

    text = cat("--to", "vega", "--select", "*_loss", "gradient_norm", "--reference", "1.42:bound", "--smooth", "0.9", folder, other)
    spec = json.loads(text)
    schema = altair.vegalite.v5.schema.core.load_schema() if hasattr(altair.vegalite, "v5") else altair.vegalite.schema.core.load_schema()
    jsonschema.Draft7Validator(schema).validate(spec)
    picture = vl_convert.vegalite_to_png(text)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 20_000
    with open(os.path.join(work, "vega.png"), "wb") as file:
        file.write(picture)
    say("the Vega-Lite specification is valid and is drawn")


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if shutil.which(name):
            return name
    raise SystemExit("check_metrics: no chromium; .ci/setup --dashboards installs it")


def check_page(folder, other, work):
    page = os.path.join(work, "page.html")
    cat("--to", "html", "--reference", "1.42:bound", "--output", page, folder, other)
    text = open(page).read()
    assert not re.search(r"(src|href)\s*=", text.replace("xmlns=", "")) and "@import" not in text and "fetch(" not in text
    common = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1300,1300",
              "--user-data-dir=" + os.path.join(work, "profile"), "--host-resolver-rules=MAP * ~NOTFOUND"]
    # What the page does when somebody uses it, written down by itself: a copy of it with a script at its end.
    probe = """<script>
    const report = { drawn: document.documentElement.dataset.drawn, panels: panels.length, errors: [] };
    const canvas = panels[0].canvas, box = canvas.getBoundingClientRect();
    const fire = (type, x) => canvas.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + 50, pointerId: 1, bubbles: true }));
    canvas.setPointerCapture = () => {};
    const inked = () => { const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n; };
    report.ink = inked();
    fire("pointermove", 200);
    report.hover = panels[0].hover.textContent; report.shown = panels[0].hover.style.display;
    report.whole = panels[0].range.slice();
    fire("pointerdown", 200); fire("pointermove", 400); fire("pointerup", 400);
    report.zoomed = panels.map(p => p.range.slice());
    canvas.dispatchEvent(new MouseEvent("dblclick")); report.back = panels[0].range.slice();
    slider.value = 0.9; slider.dispatchEvent(new Event("input")); report.smooth = smoothed(panels[0].series[0]).slice(0, 3);
    select.value = "tokens"; select.dispatchEvent(new Event("change")); report.tokens = panels[0].range.slice();
    log.checked = true; log.dispatchEvent(new Event("change")); report.log = inked();
    report.table = [...document.querySelectorAll("#configuration td")].map(cell => cell.textContent);
    const out = document.createElement("pre"); out.id = "report"; out.textContent = JSON.stringify(report); document.body.append(out);
    </script></body>"""
    used = os.path.join(work, "used.html")
    with open(used, "w") as file:
        file.write(text.replace("</body>", probe))
    dom = subprocess.run([*common, "--dump-dom", "file://" + used], capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'<pre id="report">(.*?)</pre>', dom, re.S)
    assert found, dom[-2000:]
    import html as markup

    report = json.loads(markup.unescape(found.group(1)))
    assert report["drawn"] == str(report["panels"]) and report["panels"] >= 3 and report["ink"] > 2000, report
    name = os.path.basename(folder)
    assert report["shown"] == "block" and name + ": train_loss" in report["hover"], report
    low, high = report["whole"]
    assert low < report["zoomed"][0][0] < report["zoomed"][0][1] < high, report
    assert all(zoomed == report["zoomed"][0] for zoomed in report["zoomed"]), "all plots zoom together"
    assert report["back"] == report["whole"] and report["tokens"][1] > 4096 * 100 and report["log"] > 2000
    losses = [record["train_loss"] for record in records(os.path.join(folder, "metrics.jsonl")) if "train_loss" in record][:2]
    assert abs(report["smooth"][0] - losses[0]) < 1e-9 and abs(report["smooth"][1] - (0.9 * losses[0] + losses[1]) / 1.9) < 1e-9
    assert report["table"] == ["config.recipe.learning_rate", "0.0006", "0.0003", "config.recipe.seed", "1", "2"], report["table"]
    picture = os.path.join(work, "page.png")
    subprocess.run([*common, "--screenshot=" + picture, "file://" + page], capture_output=True, timeout=120, check=True)
    with open(picture, "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n" and os.path.getsize(picture) > 40_000
    svg, drawn = os.path.join(work, "plot.svg"), os.path.join(work, "plot.png")
    cat("--to", "svg", "--select", "*", "--output", svg, folder)
    subprocess.run([*common, "--screenshot=" + drawn, "file://" + svg], capture_output=True, timeout=120, check=True)
    assert os.path.getsize(drawn) > 20_000
    say("Chromium, without a network, draws the page; pointer, zoom, smoothing, axes and the table of configurations work")


def main():
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    with tempfile.TemporaryDirectory() as work:
        folder, other = os.path.join(work, "one"), os.path.join(work, "two")
        path = make_run(folder, 300)
        make_run(other, 300, seed=2, rate=3e-4, odd=False)
        check_schema(path)
        check_rows(path, folder)
        check_tensorboard(work)
        check_trainer_state(work)
        check_prometheus(path, folder, other)
        check_vega(folder, other, work)
        check_page(folder, other, work)
        if keep:
            for name in ("page.png", "plot.png", "vega.png", "page.html"):
                shutil.copy(os.path.join(work, name), keep)
    print("dashboards: all agree")


main()
